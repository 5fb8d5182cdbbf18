package openssh_test

import (
	"context"
	"fmt"
	"net"
	"os"
	osuser "os/user"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

func chmod(t testing.TB, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func username(t testing.TB) string {
	t.Helper()
	me, err := osuser.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

// hostLines are the lines of a configuration for a server.
func hostLines(t testing.TB, name string, s *realserver.SSHD, more ...string) []string {
	target := at(t, s)
	return append([]string{"Host " + name, "HostName " + target.Host, fmt.Sprintf("Port %d", target.Port)}, more...)
}

func TestReach(t *testing.T) {
	u := newUser(t)
	public := u.key(t, "id_ed25519", "ed25519", "")
	keys := realserver.SSHDOptions{AuthorizedKeys: []string{public}}
	server, first, second := start(t, keys), start(t, keys), start(t, keys)
	forbidding := start(t, realserver.SSHDOptions{AuthorizedKeys: keys.AuthorizedKeys, Config: "AllowTcpForwarding no"})
	u.write(t, "known_hosts", server.KnownHosts()+first.KnownHosts()+second.KnownHosts()+forbidding.KnownHosts())
	jumps := append(hostLines(t, "first", first), hostLines(t, "second", second)...)
	jumps = append(jumps, hostLines(t, "forbidding", forbidding)...)
	u.write(t, "included", "Host alias\nHostName 127.0.0.1\n")

	for _, test := range []struct {
		name   string
		config []string
		kind   error
		texts  []string
	}{
		{"alias", hostLines(t, "alias", server), nil, nil},
		{"alias by pattern, case and quotes", hostLines(t, `!other "al*"`, server), nil, nil},
		{"included", append([]string{"Include " + u.file("incl*")}, fmt.Sprintf("Match host 127.0.0.1\nPort %d", at(t, server).Port)), nil, nil},
		{"Match originalhost and user", append(hostLines(t, "alias", server), "Match originalhost alias user somebody", "Port 1"), nil, nil},
		{"Match exec", append([]string{`Match exec "test %n = alias"`}, hostLines(t, "*", server)[1:]...), nil, nil},
		{"Match final", append([]string{"Match final host 127.0.0.1", "IdentityFile ~/.ssh/id_ed25519", "Host *", "IdentityFile ~/.ssh/none"}, hostLines(t, "alias", server)...), nil, nil},
		{"user of the configuration", hostLines(t, "alias", server, "User "+username(t)), nil, nil},
		{"jump host", hostLines(t, "alias", server, "ProxyJump first"), nil, nil},
		{"two jump hosts", hostLines(t, "alias", server, "ProxyJump first,second"), nil, nil},
		{"jump host by URI", hostLines(t, "alias", server, "ProxyJump ssh://"+first.Host), nil, nil},
		{"ProxyCommand", hostLines(t, "alias", server, `ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'`), nil, nil},
		{"ProxyCommand that fails", hostLines(t, "alias", server, `ProxyCommand echo no way to %n >&2; exit 1`), transport.ErrTemporary, []string{"ProxyCommand says: no way to alias"}},
		{"ProxyCommand none", append([]string{"Host alias", "ProxyCommand none"}, hostLines(t, "alias", server, "ProxyCommand false")...), nil, nil},
		{"jump host that forbids", hostLines(t, "alias", server, "ProxyJump forbidding"), transport.ErrPermanent, []string{"forbids forwarding"}},
		{"jump hosts in a circle", hostLines(t, "alias", server, "ProxyJump alias"), transport.ErrPermanent, []string{"circle"}},
		{"jump host that isn't there", hostLines(t, "alias", server, "ProxyJump 127.0.0.1:1"), transport.ErrTemporary, []string{"ssh://", "127.0.0.1:1"}},
		{"server behind it that isn't there", []string{"Host alias", "HostName 127.0.0.1", "Port 1", "ProxyJump first"}, transport.ErrTemporary, []string{"jump host", "can't reach it"}},
		{"HostKeyAlias unknown", hostLines(t, "alias", server, "HostKeyAlias elsewhere"), transport.ErrRefused, []string{"host key of elsewhere is not known"}},
		{"cipher", hostLines(t, "alias", server, "Ciphers aes256-ctr", "MACs hmac-sha2-512", "KexAlgorithms ^ecdh-sha2-nistp256"), nil, nil},
		{"no common cipher", hostLines(t, "alias", server, "Ciphers rot13"), transport.ErrPermanent, []string{"Ciphers rot13 leaves nothing"}},
		{"HostKeyAlgorithms", hostLines(t, "alias", server, "HostKeyAlgorithms ssh-ed25519"), nil, nil},
		{"no common host key", hostLines(t, "alias", server, "HostKeyAlgorithms rsa-sha2-256"), transport.ErrPermanent, []string{"no common algorithm"}},
		{"unknown criterion", []string{"Match weather rain"}, transport.ErrPermanent, []string{u.file("config") + " line ", `"weather"`}},
		{"bad number", []string{"Port many"}, transport.ErrPermanent, []string{"port", `"many"`}},
		{"files that include each other", []string{"Include " + u.file("config")}, transport.ErrPermanent, []string{"16 deep"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.configure(t, append(test.config, jumps...)...)
			err := dial(t, u.dialer(nil), openssh.Target{Host: "alias"})
			if test.kind != nil {
				wantError(t, err, test.kind, test.texts...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("configuration others may write", func(t *testing.T) {
		u.configure(t, hostLines(t, "alias", server)...)
		chmod(t, u.file("config"), 0o666)
		wantError(t, dial(t, u.dialer(nil), openssh.Target{Host: "alias"}), transport.ErrPermanent, "chmod go-w")
		chmod(t, u.file("config"), 0o600)
	})
	t.Run("jump host with an unknown key", func(t *testing.T) {
		u.configure(t, append(hostLines(t, "alias", server, "ProxyJump first"), jumps...)...)
		u.write(t, "known_hosts", server.KnownHosts())
		wantError(t, dial(t, u.dialer(nil), openssh.Target{Host: "alias"}), transport.ErrRefused, first.Host[len("127.0.0.1:"):], "is not known")
	})
}

// What is not sshd, or not well.
func TestStrangeServers(t *testing.T) {
	for _, test := range []struct {
		name, says string
		kind       error
		text       string
	}{
		{"web server", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", transport.ErrPermanent, "no SSH server; it says: HTTP/1.1 400"},
		{"hangs up", "", transport.ErrTemporary, "handshake failed"},
		{"too many clients", "Exceeded MaxStartups\r\n", transport.ErrThrottled, "Exceeded MaxStartups"},
		{"penalty", "Not allowed at this time\r\n", transport.ErrThrottled, "Not allowed at this time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, dialStrange(t, func(c net.Conn) {
				fmt.Fprint(c, test.says)
				c.Close()
			}), test.kind, test.text)
		})
	}
	t.Run("silent", func(t *testing.T) {
		wantError(t, dialStrange(t, func(c net.Conn) {
			defer c.Close() // and not the garbage collector, at any time
			<-t.Context().Done()
		}), transport.ErrTemporary, "didn't answer within 1s")
	})
}

// dialStrange connects to a server that does what serve does with a
// connection.
func dialStrange(t *testing.T, serve func(net.Conn)) error {
	u := newUser(t)
	u.configure(t, "ConnectTimeout 1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			serve(c)
		}
	}()
	return dial(t, u.dialer(nil), openssh.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port})
}

func TestBadTargets(t *testing.T) {
	u := newUser(t)
	for _, target := range []openssh.Target{
		{Host: "-oProxyCommand=touch /tmp/x"}, {Host: "a b"}, {Host: "a;b"}, {Host: ""}, {Host: "a\nb"}, {Host: "$(id)"},
		{Host: "h", User: "-oX"}, {Host: "h", User: "a\x1b[2J"}, {Host: "fe80::1%a;b"}, {Host: strings.Repeat("a", 300)},
	} {
		wantError(t, dial(t, u.dialer(nil), target), transport.ErrPermanent)
	}
	// A user that is odd, but not for a shell.
	u.configure(t, "ProxyCommand echo %r %h")
	wantError(t, dial(t, u.dialer(nil), openssh.Target{Host: "h", User: "a;touch x"}), transport.ErrPermanent, "shell command")
}

func TestCancelledDial(t *testing.T) {
	u := newUser(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			cancel()
			defer c.Close()
			<-t.Context().Done()
		}
	}()
	_, err = u.dialer(nil).Dial(ctx, openssh.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port})
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
}
