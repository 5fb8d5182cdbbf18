package httpclient

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// maxCertFile bounds one certificate or key file.
const maxCertFile = 1 << 20

// DefaultCertDirs returns the directories in which container tools keep
// certificates, most specific first: $XDG_CONFIG_HOME/containers/certs.d (or
// ~/.config/containers/certs.d), /etc/containers/certs.d,
// /etc/docker/certs.d, /etc/containerd/certs.d.
//
// Each may hold a directory for a host, named HOST:PORT, HOST_PORT_ (as
// containerd writes it), or HOST for port 443. The first such directory with
// certificates in it is used: every *.crt is an authority trusted beside the
// system's (PEM), and every *.cert a client certificate with its key in the
// *.key of the same name. Which directories there are is read once, before the
// first https request; a directory that does not exist or may not be read is
// passed over, as the other tools do, a file that is bad is an error.
func DefaultCertDirs() []string {
	var dirs []string
	if config, err := os.UserConfigDir(); err == nil {
		dirs = append(dirs, filepath.Join(config, "containers", "certs.d"))
	}
	return append(dirs, "/etc/containers/certs.d", "/etc/docker/certs.d", "/etc/containerd/certs.d")
}

// certDirs finds the directory of a host's certificates.
type certDirs struct {
	roots []string

	once  sync.Once
	hosts map[string]string // lower-case name of a directory → its path
}

// find returns the directory for the host of u, or "".
func (c *certDirs) find(u *url.URL) string {
	c.once.Do(c.read)
	host, port := strings.ToLower(u.Hostname()), portOf(u)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	names := []string{host + ":" + port, host + "_" + port + "_"}
	if port == "443" {
		names = append(names, host)
	}
	for _, n := range names {
		if dir := c.hosts[n]; dir != "" {
			return dir
		}
	}
	return ""
}

// read lists the roots. Looking hosts up in the listing, rather than joining
// them to a path, leaves no way out of the roots.
func (c *certDirs) read() {
	c.hosts = make(map[string]string)
	for _, root := range c.roots {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue
		}
		for _, e := range entries {
			name, dir := strings.ToLower(e.Name()), filepath.Join(root, e.Name())
			if c.hosts[name] == "" && holdsCertificates(dir) {
				c.hosts[name] = dir
			}
		}
	}
}

// holdsCertificates reports whether a directory has anything to do with TLS;
// containerd's may hold a hosts.toml alone.
func holdsCertificates(dir string) bool {
	for _, ext := range []string{"*.crt", "*.cert", "*.key"} {
		if m, err := filepath.Glob(filepath.Join(glob(dir), ext)); err == nil && len(m) > 0 {
			return true
		}
	}
	return false
}

// glob returns dir as a pattern that matches itself: [::1] is a host.
func glob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `[`, `\[`, `*`, `\*`, `?`, `\?`).Replace(dir)
}

// configError is what is wrong with the local configuration.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// tlsConfig returns the configuration of the connections of one pool.
func tlsConfig(key tlsKey) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: key.insecure,
		// More connections to the same server skip half the handshake.
		ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions),
	}
	if key.dir == "" {
		return config, nil
	}
	if err := loadCertificates(config, key.dir); err != nil {
		return nil, &configError{err}
	}
	return config, nil
}

// loadCertificates adds what dir holds to config.
func loadCertificates(config *tls.Config, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch stem, ext := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path); ext {
		case ".crt":
			if err := addAuthority(config, path); err != nil {
				return err
			}
		case ".cert":
			pair, err := keyPair(path, stem+".key")
			if err != nil {
				return err
			}
			config.Certificates = append(config.Certificates, pair)
		case ".key":
			if _, err := os.Stat(stem + ".cert"); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s has no %s beside it", path, filepath.Base(stem+".cert"))
			}
		}
	}
	return nil
}

// addAuthority trusts the certificates of a PEM file beside the system's.
func addAuthority(config *tls.Config, path string) error {
	pem, err := readCapped(path)
	if err != nil {
		return err
	}
	if config.RootCAs == nil {
		config.RootCAs, err = x509.SystemCertPool()
		if err != nil {
			return fmt.Errorf("system certificates: %w", err)
		}
	}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return nil
}

// keyPair reads a client certificate and its key, from the same file where
// keyPath is empty.
func keyPair(certPath, keyPath string) (tls.Certificate, error) {
	cert, err := readCapped(certPath)
	if err != nil {
		return tls.Certificate{}, err
	}
	key := cert
	if keyPath != "" {
		if key, err = readCapped(keyPath); err != nil {
			return tls.Certificate{}, err
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s with %s: %w", certPath, filepath.Base(cmp.Or(keyPath, certPath)), err)
	}
	return pair, nil
}

// readCapped reads a file of at most maxCertFile bytes.
func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCertFile+1))
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if len(b) > maxCertFile {
		return nil, fmt.Errorf("certificates: %s is larger than %d bytes", path, maxCertFile)
	}
	return b, nil
}
