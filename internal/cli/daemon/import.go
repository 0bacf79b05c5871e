package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/image/transfer"
	"berth/internal/reference"
)

type importOptions struct {
	env      *command.Env
	source   string
	name     string
	changes  []string
	message  string
	platform string
}

func newImport(env *command.Env) *cobra.Command {
	o := &importOptions{env: env}
	cmd := &cobra.Command{
		Use:                   "import [OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]",
		DisableFlagsInUseLine: true,
		Short:                 "Make an image of a root file system in a tar",
		Example: "  berth import rootfs.tar tools:1\n" +
			"  tar -C rootfs -c . | berth import -c 'CMD [\"/bin/sh\"]' - tools",
		Args: command.Between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source = args[0]
			if len(args) == 2 {
				o.name = args[1]
			}
			return o.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.StringArrayVarP(&o.changes, "change", "c", nil, "Apply a Dockerfile instruction to the image's config")
	fs.StringVarP(&o.message, "message", "m", "", "Comment of the image")
	fs.StringVar(&o.platform, "platform", "", "Platform of the root file system (os/arch[/variant])")
	return cmd
}

func (o *importOptions) run(ctx context.Context) (err error) {
	opt := transfer.ImportOptions{Changes: o.changes, Message: o.message}
	if opt.Platform, err = parsePlatform(o.platform); err != nil {
		return err
	}
	if o.name != "" {
		if opt.Name, err = reference.Parse(o.name); err != nil {
			return err
		}
	}
	src, size, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	p := newPrinter(o.env.Err) // the result alone is for stdout
	opt.Size, opt.Report = size, p.Event
	id, err := transfer.New(o.env.DataRoot, 0).Import(ctx, src, opt)
	p.Close()
	if err != nil {
		return err
	}
	emit(o.env, "import", string(id), o.name)
	_, err = fmt.Fprintln(o.env.Out, id)
	return err
}

// open opens the source and tells its size, 0 for unknown.
func (o *importOptions) open(ctx context.Context) (io.ReadCloser, int64, error) {
	switch {
	case o.source == "-":
		if streams.Terminal(o.env.In) != nil {
			return nil, 0, &command.UsageError{Path: "berth import", Err: errors.New("cannot import from a terminal"), Hint: "pipe a tar in"}
		}
		return io.NopCloser(streams.Interruptible(ctx, o.env.In)), 0, nil
	case strings.HasPrefix(o.source, "http://"), strings.HasPrefix(o.source, "https://"):
		return download(ctx, o.source)
	}
	f, err := os.Open(o.source)
	if err != nil {
		return nil, 0, noFile(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errdefs.New(errdefs.InvalidArgument, "cannot import %s: it is a directory", o.source).
			WithHint("tar -C %s -c . | berth import - %s", o.source, o.name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// download gets a tar from the web. A user who types https:// does not end on http://.
func download(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, 0, errdefs.New(errdefs.InvalidArgument, "cannot import %s: %w", from, err)
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute, DisableCompression: true}
	client := &http.Client{Transport: t, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) >= 10 || via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
			return fmt.Errorf("%s leads to %s://%s", via[0].URL.Host, next.URL.Scheme, next.URL.Host)
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, &errdefs.Error{Kind: errdefs.Unavailable, Op: "import", Subject: from, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, 0, errdefs.New(errdefs.NotFound, "cannot import %s: the server answers %s", from, resp.Status)
	}
	return resp.Body, max(resp.ContentLength, 0), nil
}
