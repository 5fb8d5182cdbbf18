package realserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// RegistryOptions says what kind of docker-registry to start. The zero value
// is an anonymous one over plain HTTP.
type RegistryOptions struct {
	// User and Password, where set, are wanted by Basic authentication.
	User, Password string
	// Token, where set, makes the registry want the bearer tokens of that
	// server.
	Token *TokenServer
	// CA, where set, makes the registry speak TLS with a certificate of that
	// authority.
	CA *CA
}

// Registry is a running docker-registry.
type Registry struct {
	*Process
	// Host is its HOST:PORT, as it stands in an image's name.
	Host string
	// URL is its base, without a slash at the end.
	URL string
	// Blobs is the directory it keeps content in: a test may damage what lies
	// there, or remove it.
	Blobs string

	dir, config string
}

// StartRegistry starts a docker-registry whose configuration, content and log
// are kept in dir.
func StartRegistry(ctx context.Context, dir string, o RegistryOptions) (*Registry, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of the registry: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	var config strings.Builder
	fmt.Fprintf(&config, "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\n",
		filepath.Join(dir, "content"))
	fmt.Fprintf(&config, "http:\n  addr: %s\n", addr)
	url := "http://" + addr
	if o.CA != nil {
		cert, err := o.CA.Issue(filepath.Join(dir, "tls"))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&config, "  tls:\n    certificate: %s\n    key: %s\n", cert.CertFile, cert.KeyFile)
		url = "https://" + addr
	}
	switch {
	case o.User != "":
		file := filepath.Join(dir, "htpasswd")
		// -5 is the cheapest bcrypt the registry takes; the password is the test's.
		out, err := exec.CommandContext(ctx, "htpasswd", "-nbB", "-C", "5", o.User, o.Password).Output()
		if err != nil {
			return nil, fmt.Errorf("htpasswd (package apache2-utils): %w", err)
		}
		if err := os.WriteFile(file, out, 0o600); err != nil {
			return nil, fmt.Errorf("password file: %w", err)
		}
		fmt.Fprintf(&config, "auth:\n  htpasswd:\n    realm: test\n    path: %s\n", file)
	case o.Token != nil:
		fmt.Fprintf(&config, "auth:\n  token:\n    realm: %s\n    service: %s\n    issuer: %s\n    rootcertbundle: %s\n",
			o.Token.URL, tokenService, tokenIssuer, o.Token.certFile)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return nil, fmt.Errorf("configuration of the registry: %w", err)
	}
	r := &Registry{
		Host:   addr,
		URL:    url,
		Blobs:  filepath.Join(dir, "content", "docker", "registry", "v2", "blobs"),
		dir:    dir,
		config: file,
	}
	return r, r.Start(ctx)
}

// Start starts it again, at the same address, after Stop.
func (r *Registry) Start(ctx context.Context) (err error) {
	r.Process, err = start(ctx, r.dir, dialable("tcp", r.Host), "docker-registry", "serve", r.config)
	return err
}

// BlobFile is the file in which the registry keeps the blob of that
// sha256 digest.
func (r *Registry) BlobFile(digest string) string {
	hex := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(r.Blobs, "sha256", hex[:2], hex, "data")
}
