package openssh_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// user is a user of the tests, with a home directory.
type user struct{ home string }

func newUser(t testing.TB) user {
	t.Helper()
	u := user{t.TempDir()}
	if err := os.Mkdir(u.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	u.configure(t)
	return u
}

func (u user) file(name string) string { return filepath.Join(u.home, ".ssh", name) }

func (u user) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(u.file(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// key makes a key in ~/.ssh and returns its public half.
func (u user) key(t testing.TB, name, kind, passphrase string) string {
	t.Helper()
	public, err := realserver.SSHKeygen(t.Context(), "-t", kind, "-N", passphrase, "-f", u.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// configure writes ~/.ssh/config. The machine's known hosts play no part.
func (u user) configure(t testing.TB, lines ...string) {
	t.Helper()
	lines = append(lines, "Match all", "GlobalKnownHostsFile none", "UserKnownHostsFile "+u.file("known_hosts"))
	u.write(t, "config", strings.Join(lines, "\n")+"\n")
}

func noTerminal(context.Context, string) ([]byte, error) { return nil, openssh.ErrNoTerminal }

func (u user) dialer(ask openssh.AskFunc) *openssh.Dialer {
	if ask == nil {
		ask = noTerminal
	}
	return openssh.New(openssh.Options{Home: u.home, SystemConfig: os.DevNull, AskPassphrase: ask})
}

// dial connects to a host and hangs up.
func dial(t testing.TB, d *openssh.Dialer, target openssh.Target) error {
	t.Helper()
	c, err := d.Dial(t.Context(), target)
	if err == nil {
		c.Close()
	}
	return err
}

func start(t testing.TB, o realserver.SSHDOptions) *realserver.SSHD {
	t.Helper()
	s, err := realserver.StartSSHD(context.Background(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// at is the target of a server by its address.
func at(t testing.TB, s *realserver.SSHD) openssh.Target {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Host)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return openssh.Target{Host: host, Port: number}
}

// wantError fails the test unless err is of the given kind, in one line, and
// has all the texts in it.
func wantError(t testing.TB, err, kind error, texts ...string) {
	t.Helper()
	var te *transport.Error
	if !errors.Is(err, kind) || !errors.As(err, &te) {
		t.Fatalf("got the error %v; want one that is %q", err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in the error: %v", text, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("the error is not one line: %q", err)
	}
}
