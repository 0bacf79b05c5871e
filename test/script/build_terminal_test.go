package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTerminalBuildShell: a step that fails can be looked into where it failed.
func TestTerminalBuildShell(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("short", "FROM bb\nRUN [\"false\"]\n")
	write("bare", "FROM scratch\nCOPY --from=bb /bin/busybox /busybox\nRUN [\"/busybox\", \"false\"]\n")
	write("token.txt", "s3cr3t")
	write("Dockerfile", `FROM bb AS slow
RUN sleep 100
FROM bb
ENV GREETING=hello
ARG VERSION=7
WORKDIR /work
USER web
COPY Dockerfile /seen
RUN --mount=type=secret,id=token,mode=0444 --mount=type=cache,target=/tmp/cache,mode=0777 --mount=type=bind,target=/ctx --mount=type=tmpfs,target=/mem --network=none \
    echo left > /tmp/left; echo kept > /tmp/cache/kept; cat /no/such/file
COPY --from=slow /bin/sh /never
`)
	secret := filepath.Join(dir, "token.txt")
	p := b.onTerminal(t, "build", "--progress=plain", "--on-error=shell", "--secret", "id=token,src="+secret, dir)
	p.expect("ERROR: process")
	p.expect("This is a shell in its files")
	p.expect("To run the program again: /bin/sh -c 'echo left > /tmp/left;")
	p.expect("/work $ ")
	p.keys("id -u; cat /tmp/left /tmp/cache/kept; echo $GREETING $VERSION; ls /ctx | cat; cat /run/secrets/token; echo; ls /sys/class/net; stty size\n")
	p.expect("1000\r\nleft\r\nkept\r\nhello 7\r\nDockerfile\r\nbare\r\nshort\r\ntoken.txt\r\ns3cr3t\r\n")
	p.expect("lo\r\n24 80\r\n")
	p.resized(40, 100)
	p.keys("sh -c 'echo in=$((1+1)); exec sleep 100'\n")
	p.expect("in=2")
	p.keys(ctrlC)
	p.keys("echo code=$?; exit 9\n")
	p.expect("code=130")
	p.expect("failed to build: process")
	p.expect("hint: berth run --rm -it ")
	p.ends(1)
	if got := b.must(t, "ps", "-aq"); got != "" {
		t.Errorf("left: %s", got)
	}

	// The drawn form gives the screen away as well, and classic does. A program
	// that has no shell in its image is told so.
	for _, form := range []string{"auto", "classic"} {
		p = b.onTerminal(t, "build", "--progress="+form, "--on-error=shell", "-f", filepath.Join(dir, "short"), dir)
		p.expect("To run the program again: false")
		p.expect("/ # ")
		p.keys("exit\n")
		p.ends(1)
	}
	p = b.onTerminal(t, "build", "--progress=plain", "--on-error=shell", "-f", filepath.Join(dir, "bare"), dir)
	p.expect("open a shell in the files of the step")
	p.ends(1)

	// Without a terminal it is refused before anything is done.
	out, err := b.command("build", "--on-error=shell", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "needs a terminal") || strings.Contains(string(out), "#1") {
		t.Errorf("without a terminal: %v, %s", err, out)
	}
}
