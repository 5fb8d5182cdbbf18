// Package places starts real servers of every kind that hold one OCI layout,
// and makes a user who can read from them: what the end-to-end tests and the
// benchmarks of transports share.
package places

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Place is a running server that holds a layout.
type Place struct {
	// Name is the protocol's: "SSH".
	Name string
	// Addr is the HOST:PORT that content comes from: where a relay may be put
	// in front.
	Addr string
	// Start starts the server again after Stop, at the same address.
	Start func(context.Context) error
	// Stop kills it.
	Stop func()
	// Turn, where not nil, returns lead before the server lets in who has come
	// since the last time.
	Turn func(ctx context.Context, lead time.Duration) error

	uri    func(addr string) string
	enable func(u *User, addr string) error
	native func(u *User, addr, file, to string) []string
}

// User is somebody who can read from places.
type User struct {
	// Home is a directory of theirs. What programs look for in a home is put
	// there.
	Home string
	// Env are NAME=VALUE to be set for their programs.
	Env []string
	// Config is the text of their waybill configuration.
	Config string
}

// URI is how the place is named to --from when it is reached at addr.
func (p *Place) URI(addr string) string { return p.uri(addr) }

// Enable gives u what is needed to read from p at addr: keys, logins, known
// hosts, configuration.
func (p *Place) Enable(u *User, addr string) error {
	if p.enable == nil {
		return nil
	}
	if err := p.enable(u, addr); err != nil {
		return fmt.Errorf("make %s known: %w", p.Name, err)
	}
	return nil
}

// Native is the command of the protocol's own tool by which u, for whom the
// place is enabled, copies a file of the layout to the path to.
func (p *Place) Native(u *User, addr, file, to string) []string { return p.native(u, addr, file, to) }

// write writes a file below the user's home.
func (u *User) write(name, content string) error {
	path := filepath.Join(u.Home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// copyLayout copies a layout's files into dir.
func copyLayout(dir, layout string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(layout))
}

func hostOf(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}

// withPort replaces the port of from by that of to in a text.
func withPort(text, from, to string) string {
	_, old, _ := strings.Cut(from, ":")
	_, port, _ := strings.Cut(to, ":")
	return strings.ReplaceAll(text, old, port)
}
