package hosts

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TLS says how a host proves who it is, and how we do.
type TLS struct {
	// CA are PEM files of authorities trusted besides the system's.
	CA []string
	// Client are our certificates.
	Client []Pair
	// SkipVerify accepts any certificate.
	SkipVerify bool
}

// Pair is a certificate and its key, two PEM files or the same twice.
type Pair struct{ Cert, Key string }

// Config reads the files. It returns nil if there is nothing to configure.
func (t TLS) Config() (*tls.Config, error) {
	if len(t.CA) == 0 && len(t.Client) == 0 && !t.SkipVerify {
		return nil, nil
	}
	c := &tls.Config{InsecureSkipVerify: t.SkipVerify} //nolint:gosec // the user's setting
	if len(t.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, file := range t.CA {
			pem, err := readFile(file)
			if err != nil {
				return nil, err
			}
			if !pool.AppendCertsFromPEM([]byte(pem)) {
				return nil, invalid(file, "it holds no certificate in PEM form")
			}
		}
		c.RootCAs = pool
	}
	for _, p := range t.Client {
		cert, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, invalid(p.Cert, "%w", err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c, nil
}

// certificates adds what Docker's directories have for a host: *.crt are
// authorities, *.cert with *.key of the same name are ours.
func (c Config) certificates(h *Host) error {
	for _, dir := range c.Dirs {
		for _, name := range directories(h.Addr) {
			dir := filepath.Join(dir, name)
			entries, err := os.ReadDir(dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			for _, e := range entries {
				path := filepath.Join(dir, e.Name())
				switch filepath.Ext(path) {
				case ".crt":
					h.TLS.CA = append(h.TLS.CA, path)
				case ".cert":
					key := strings.TrimSuffix(path, ".cert") + ".key"
					if _, err := os.Stat(key); err != nil {
						return invalid(path, "its key is not beside it: %w", err)
					}
					h.TLS.Client = append(h.TLS.Client, Pair{path, key})
				}
			}
		}
	}
	return nil
}
