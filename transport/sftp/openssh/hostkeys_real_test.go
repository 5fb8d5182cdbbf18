package openssh_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
)

// The server has two host keys, ecdsa and ed25519, in this order.
func TestHostKeys(t *testing.T) {
	u := newUser(t)
	public := u.key(t, "id_ed25519", "ed25519", "")
	server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{public}})
	other := start(t, realserver.SSHDOptions{})
	target := at(t, server)
	name := "[127.0.0.1]:" + strings.TrimPrefix(server.Host, "127.0.0.1:")
	ecdsa, ed25519 := server.HostKeys[0], server.HostKeys[1]

	for _, test := range []struct {
		name, known string
		kind        error
		texts       []string
	}{
		{"both", server.KnownHosts(), nil, nil},
		{"only the one it doesn't prefer", name + " " + ed25519, nil, nil},
		{"only the first", name + " " + ecdsa, nil, nil},
		{"without the port", "127.0.0.1 " + ed25519, nil, nil},
		{"by pattern", "[127.0.0.*]:* " + ed25519, nil, nil},
		{"among lines nobody understands", "nonsense\n" + name + " ssh-new AAAA\n@marker * " + ecdsa + "\n" + name + " " + ed25519 + "\n", nil, nil},
		{"one of two", name + " " + other.HostKeys[1] + "\n" + name + " " + ed25519, nil, nil},
		{"none", "", transport.ErrRefused, []string{"is not known", "SHA256:", "ssh -o StrictHostKeyChecking=ask -p", u.file("known_hosts")}},
		{"another host's", other.KnownHosts(), transport.ErrRefused, []string{"is not known"}},
		{"negated", "!127.0.0.1,!" + name + ",* " + ed25519, transport.ErrRefused, []string{"is not known"}},
		{"changed", name + " " + other.HostKeys[1], transport.ErrRefused, []string{"HAS CHANGED", "ssh-keygen -f '" + u.file("known_hosts") + "' ", "-R '" + name + "'", "line 1"}},
		{"changed, without the port", "127.0.0.1 " + other.HostKeys[1], transport.ErrRefused, []string{"is not known"}},
		{"revoked", server.KnownHosts() + "@revoked * " + ed25519 + "\n@revoked * " + ecdsa, transport.ErrRefused, []string{"is revoked by", "line 3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.write(t, "known_hosts", test.known)
			err := dial(t, u.dialer(nil), target)
			if test.kind != nil {
				wantError(t, err, test.kind, test.texts...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}

	t.Run("hashed by ssh-keygen", func(t *testing.T) {
		u.write(t, "known_hosts", server.KnownHosts())
		if out, err := exec.Command("ssh-keygen", "-H", "-f", u.file("known_hosts")).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		if content, err := os.ReadFile(u.file("known_hosts")); err != nil || strings.Contains(string(content), "127.0.0.1") {
			t.Fatalf("the names are not hashed: %s, %v", content, err)
		}
		if err := dial(t, u.dialer(nil), target); err != nil {
			t.Error(err)
		}
	})
	t.Run("StrictHostKeyChecking doesn't loosen", func(t *testing.T) {
		u.write(t, "known_hosts", "")
		u.configure(t, "StrictHostKeyChecking no")
		defer u.configure(t)
		wantError(t, dial(t, u.dialer(nil), target), transport.ErrRefused, "is not known")
		if content, err := os.ReadFile(u.file("known_hosts")); err != nil || len(content) > 0 {
			t.Errorf("known_hosts was written: %s, %v", content, err)
		}
	})
	t.Run("changed while we know it", func(t *testing.T) {
		u.write(t, "known_hosts", server.KnownHosts())
		server.Stop()
		if err := server.NewHostKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantError(t, dial(t, u.dialer(nil), target), transport.ErrRefused, "HAS CHANGED")
	})
	t.Run("RevokedHostKeys", func(t *testing.T) {
		u.write(t, "known_hosts", server.KnownHosts())
		u.write(t, "revoked", "# of the server\n"+strings.Join(server.HostKeys, "\n")+"\n")
		u.configure(t, "RevokedHostKeys "+u.file("revoked"))
		wantError(t, dial(t, u.dialer(nil), target), transport.ErrRefused, "is revoked by "+u.file("revoked")+" line")
		u.configure(t, "RevokedHostKeys "+u.file("missing"))
		wantError(t, dial(t, u.dialer(nil), target), transport.ErrRefused, "RevokedHostKeys")
	})
}

func TestHostCertificates(t *testing.T) {
	u := newUser(t)
	public := u.key(t, "id_ed25519", "ed25519", "")
	authority := u.key(t, "authority", "ed25519", "")
	hostKey := u.key(t, "host", "ed25519", "")
	u.write(t, "host.pub", hostKey+"\n")
	certify := func(principal, validity string) {
		args := []string{"-q", "-s", u.file("authority"), "-I", "host", "-h", "-n", principal, "-V", validity, u.file("host.pub")}
		if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	certify("127.0.0.1", "+1d")
	server := start(t, realserver.SSHDOptions{
		AuthorizedKeys: []string{public},
		Config:         "HostKey " + u.file("host") + "\nHostCertificate " + u.file("host-cert.pub"),
	})
	for _, test := range []struct {
		name, principal, validity, known string
		kind                             error
		text                             string
	}{
		{"by a trusted authority", "127.0.0.1", "+1d", "@cert-authority [127.0.0.1]:* " + authority, nil, ""},
		{"by one for other hosts", "127.0.0.1", "+1d", "@cert-authority *.example.org " + authority, transport.ErrRefused, "is not known"},
		{"by nobody, the key known", "127.0.0.1", "+1d", "127.0.0.1 " + hostKey, nil, ""},
		{"for another host", "example.org", "+1d", "@cert-authority * " + authority, transport.ErrRefused, "is not valid"},
		{"expired", "127.0.0.1", "20200101:20200102", "@cert-authority * " + authority, transport.ErrRefused, "is not valid"},
		{"by a revoked authority", "127.0.0.1", "+1d", "@cert-authority * " + authority + "\n@revoked * " + authority, transport.ErrRefused, "is revoked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			certify(test.principal, test.validity)
			server.Stop()
			if err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			u.write(t, "known_hosts", test.known+"\n")
			err := dial(t, u.dialer(nil), at(t, server))
			if test.kind != nil {
				wantError(t, err, test.kind, test.text)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
