# syntax=docker/dockerfile:1.7
# check=skip=SecretsUsedInArgOrEnv

# A web service in Go: tools, modules, tests and two results share one cache.
ARG GO_VERSION=1.26
ARG BASE=debian:12

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS base
WORKDIR /src
ENV CGO_ENABLED=0 \
    GOFLAGS=-mod=readonly
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod,id=gomod \
    --mount=type=secret,id=netrc,target=/root/.netrc,mode=0400 \
    go mod download

FROM base AS lint
COPY --from=alpine /etc/ssl/certs /etc/ssl/certs
RUN --mount=target=. \
    --mount=type=cache,target=/root/.cache,sharing=locked <<EOF
set -e
go vet ./...
gofmt -l .
EOF

FROM base AS build
ARG TARGETOS TARGETARCH
ARG VERSION=dev
ARG COMMIT
RUN --mount=type=bind,target=. \
    --mount=type=cache,target=/go/pkg/mod,id=gomod \
    --mount=type=cache,target=/root/.cache/go-build,id=go-build-$TARGETARCH \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build \
      -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT:-unknown}" \
      -o /out/service ./cmd/service

FROM base AS test
ENV CI=true
RUN --mount=target=. --network=none go test ./...

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="service" \
      org.opencontainers.image.source="https://git.example.com/team/service"
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates tzdata \
 # the lists are of no use in an image
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /var/lib/service service
COPY --chmod=0755 <<"ENTRY" /usr/local/bin/entrypoint
#!/bin/sh
set -eu
: "${SERVICE_CONFIG:=/etc/service/config.toml}"
exec "$@" --config "$SERVICE_CONFIG"
ENTRY
COPY --from=build --link --chown=10001:10001 /out/service /usr/local/bin/service
ARG VERSION
LABEL org.opencontainers.image.version=$VERSION
ENV SERVICE_ADDRESS=:8080 \
    PATH=/opt/service/bin:$PATH
EXPOSE 8080/tcp 9090
VOLUME ["/var/lib/service"]
WORKDIR /var/lib/service
USER 10001:10001
STOPSIGNAL SIGINT
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s --retries=5 \
    CMD ["/usr/local/bin/service", "health"]
ENTRYPOINT ["/usr/local/bin/entrypoint"]
CMD ["/usr/local/bin/service", "serve"]

FROM runtime AS debug
USER root
RUN apt-get update && apt-get install -y strace
USER 10001:10001

FROM runtime
