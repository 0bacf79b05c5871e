package build

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/image/registry"
)

// proxyConfig is what Docker's client configuration says about reaching the
// network (docs.docker.com/engine/cli/proxy). Docker keeps one entry for each
// daemon; berth has none, so "default" counts.
type proxyConfig struct {
	Proxies map[string]struct {
		HTTPProxy  string `json:"httpProxy"`
		HTTPSProxy string `json:"httpsProxy"`
		FTPProxy   string `json:"ftpProxy"`
		AllProxy   string `json:"allProxy"`
		NoProxy    string `json:"noProxy"`
	} `json:"proxies"`
}

// proxies adds the configured proxies to the build arguments, where the user
// gave none of that name, in capitals or small letters: RUN sees one value in both.
func (r *request) proxies() error {
	path := registry.DockerConfig("")
	text, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errdefs.Wrap(err, "read", "proxies")
	}
	var c proxyConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "read proxies from", Subject: path, Err: err}).
			WithHint("repair the file, or set DOCKER_CONFIG to an empty directory to build without it")
	}
	p := c.Proxies["default"]
	for name, value := range map[string]string{
		"HTTP_PROXY": p.HTTPProxy, "HTTPS_PROXY": p.HTTPSProxy, "FTP_PROXY": p.FTPProxy, "ALL_PROXY": p.AllProxy, "NO_PROXY": p.NoProxy,
	} {
		_, upper := r.buildArgs[name]
		_, lower := r.buildArgs[strings.ToLower(name)]
		if value != "" && !upper && !lower {
			r.buildArgs[name] = value
		}
	}
	return nil
}
