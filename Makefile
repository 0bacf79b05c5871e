# The targets below need Go and Debian's package manager; what else they need they install.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX  ?= /usr/local
export CGO_ENABLED = 0

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

build: ## build bin/berth and bin/berthd, static
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-s -w -X berth/internal/buildinfo.Version=$(VERSION)" -o bin/ ./cmd/berth ./cmd/berthd

demo: build ## build, make an image from Debian's busybox, and walk through what a container is
	@scripts/packages busybox-static jq tree iproute2 wget
	@scripts/demo

test: build ## run every test; the full figure is the last line
	@scripts/packages busybox-static jq tree nftables iproute2 wget git skopeo docker-registry mmdebstrap libseccomp-dev gcc libc6-dev strace procps
	@$(GO) run ./test/summary

lint: ## formatting, vet on both architectures, static analysis
	@test -z "$$(gofmt -l cmd internal test)" || { gofmt -l cmd internal test; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	GOARCH=arm64 $(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: build ## compare with crun, runc, podman and docker in one run
	@scripts/packages busybox-static crun runc podman docker.io containerd strace procps
	@$(GO) run ./test/bench

compat: build ## read, plan and build Dockerfiles of other projects: DIR holds NAME/Dockerfile
	@$(GO) run ./test/compat $(DIR)
	@cd test/conformance/dockerfile && $(GO) test -count=1 -run TestFiles . -files '$(abspath $(DIR))/*/Dockerfile'

diff-build: ## build hundreds of Dockerfiles with berth and BuildKit and compare; needs minutes, not part of make test
	@scripts/packages busybox-static runc git openssh-client libcap2-bin xz-utils bzip2 zstd iproute2
	@cd test/conformance/build && $(GO) run .

vm: build ## limits and user namespaces on cgroup v2, and systemd, in a virtual machine; not part of make test
	@test/vm/limits
	@test/vm/userns

install: build ## install both binaries below PREFIX
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/berth bin/berthd

.PHONY: help build demo test lint bench compat diff-build vm install
.DEFAULT_GOAL := help
