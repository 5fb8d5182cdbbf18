package sftp_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/sftp"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// user is a user of the tests: a home directory, with a key.
type user struct {
	home string
	// public is the key as a line of authorized_keys.
	public string
}

func newUser(t testing.TB) user {
	t.Helper()
	u := user{home: t.TempDir()}
	if err := os.Mkdir(u.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	u.public, err = realserver.SSHKeygen(t.Context(), "-t", "ed25519", "-N", "", "-f", u.file("id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	u.configure(t, "IdentityAgent none")
	return u
}

// file returns the path of a file in ~/.ssh.
func (u user) file(name string) string { return filepath.Join(u.home, ".ssh", name) }

func (u user) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(u.file(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// configure writes ~/.ssh/config. The machine's known hosts play no part.
func (u user) configure(t testing.TB, lines ...string) {
	t.Helper()
	lines = append(lines, "Match all", "GlobalKnownHostsFile none", "UserKnownHostsFile "+u.file("known_hosts"))
	u.write(t, "config", strings.Join(lines, "\n")+"\n")
}

// knows makes servers known to the user.
func (u user) knows(t testing.TB, servers ...*realserver.SSHD) {
	t.Helper()
	var lines strings.Builder
	for _, s := range servers {
		lines.WriteString(s.KnownHosts())
	}
	u.write(t, "known_hosts", lines.String())
}

// transport returns a transport for the user, who has no terminal unless ask
// is one.
func (u user) transport(t testing.TB, ask openssh.AskFunc) *sftp.Transport {
	t.Helper()
	if ask == nil {
		ask = func(context.Context, string) ([]byte, error) { return nil, openssh.ErrNoTerminal }
	}
	tr := sftp.New(openssh.Options{Home: u.home, SystemConfig: os.DevNull, AskPassphrase: ask})
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func startSSHD(t testing.TB, o realserver.SSHDOptions) *realserver.SSHD {
	t.Helper()
	s, err := realserver.StartSSHD(context.Background(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// uri returns the URI of a directory at host, HOST:PORT.
func uri(host, dir string) string { return fmt.Sprintf("sftp://%s%s", host, dir) }

func port(t testing.TB, host string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
