package build

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/build/source"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
)

// gitOptions adds the user's ways to prove who they are.
func (c *contexts) gitOptions(o *source.GitOptions) {
	o.SSHAuthSock, _ = c.lookup("SSH_AUTH_SOCK")
	if header, ok := c.secrets["GIT_AUTH_HEADER"]; ok {
		o.AuthHeader = strings.TrimSpace(string(header))
	} else if token, ok := c.secrets["GIT_AUTH_TOKEN"]; ok {
		o.AuthHeader = "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+strings.TrimSpace(string(token))))
	}
}

// download opens an archive: a file of the host, or what an address gives. name
// is what to call it.
func (c *contexts) download(ctx context.Context, at string, k kind) (f *os.File, name string, err error) {
	if k == archiveFile {
		f, err = os.Open(at)
		return f, filepath.Base(at), err
	}
	v := begin(c.sink, "[internal] load remote build context")
	t, err := source.Get(ctx, at, c.work.dir, source.GetOptions{})
	v.finish(err)
	if err != nil {
		return nil, "", err
	}
	c.trees = append(c.trees, t)
	c.note(t)
	fd, err := openAt(t)
	return fd, t.File, err
}

// openAt opens the one file of a tree that was fetched.
func openAt(t *source.Tree) (*os.File, error) {
	root, err := os.OpenRoot("/proc/self/fd/" + itoa(int(t.Root().Fd())))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(t.File)
}

// spool writes a stream to a file of the workspace, so that it can be looked at
// before it is read.
func (c *contexts) spool(ctx context.Context, r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(c.work.dir, "stdin-")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(f, streams.Interruptible(ctx, r))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(errdefs.Wrap(err, "read", "standard input"), f.Close())
	}
	return f, nil
}

// isArchive reports whether a stream is a tar or a packed one, by its first
// bytes, and not the text of a Dockerfile.
func isArchive(f *os.File) bool {
	head := make([]byte, 512)
	n, _ := f.ReadAt(head, 0) // a short file is text
	head = head[:n]
	for _, magic := range [...]string{"\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if strings.HasPrefix(string(head), magic) {
			return true
		}
	}
	if n == len(head) && n == 512 && string(head[257:262]) == "ustar" {
		return true
	}
	// A tar older than POSIX has no magic, but bytes that no text has.
	return n == 512 && strings.IndexByte(string(head), 0) >= 0
}
