package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The lean binary starts once for every command, every monitor and every
// container init. What it links is paid each time.
const (
	maxInitAllocs  = 400
	maxLeanModules = 12
)

func TestLeanBinaryLinksNothingHeavy(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{if .Module}}{{.Module.Path}} {{end}}{{end}}{{.ImportPath}}", "berth/cmd/berth").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pkg := f[len(f)-1]
		switch pkg { // package net comes with pflag; it costs 15 allocations
		case "net/http", "os/user", "google.golang.org/grpc", "go.opentelemetry.io/otel", "crypto/tls":
			t.Errorf("cmd/berth links %s", pkg)
		}
		if strings.HasPrefix(pkg, "berth/internal/image/registry") || strings.HasPrefix(pkg, "berth/internal/image/transfer") {
			t.Errorf("cmd/berth links %s, which is berthd's", pkg)
		}
		if len(f) == 2 && f[0] != "berth" {
			modules[f[0]] = true
		}
	}
	if len(modules) > maxLeanModules {
		t.Errorf("cmd/berth links %d modules, at most %d are allowed: %v", len(modules), maxLeanModules, modules)
	}
}

func TestLeanBinaryInitialisesLittle(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "berth")
	build := exec.Command("go", "build", "-o", bin, "berth/cmd/berth")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(bin, "version")
	run.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, _ := run.CombinedOutput()
	allocs := 0
	for _, m := range regexp.MustCompile(`(?m)^init .* (\d+) allocs$`).FindAllStringSubmatch(string(out), -1) {
		n, _ := strconv.Atoi(m[1])
		allocs += n
	}
	if allocs == 0 || allocs > maxInitAllocs {
		t.Errorf("package initialisation allocates %d times, at most %d are allowed:\n%s", allocs, maxInitAllocs, out)
	}
}
