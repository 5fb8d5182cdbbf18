package openssh_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

func TestKeys(t *testing.T) {
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		t.Run(kind, func(t *testing.T) {
			u := newUser(t)
			server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{u.key(t, "id_"+kind, kind, "")}})
			u.write(t, "known_hosts", server.KnownHosts())
			if err := dial(t, u.dialer(nil), at(t, server)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusedKeys(t *testing.T) {
	u := newUser(t)
	right := u.key(t, "right", "ed25519", "")
	u.key(t, "id_ed25519", "ed25519", "")
	server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{right}})
	u.write(t, "known_hosts", server.KnownHosts())

	t.Run("wrong key", func(t *testing.T) {
		wantError(t, dial(t, u.dialer(nil), at(t, server)), transport.ErrUnauthorized, "none of these is accepted", u.file("id_ed25519"), "no terminal", "ssh -v")
	})
	t.Run("wrong password", func(t *testing.T) {
		target := at(t, server)
		target.User, target.Password, target.HasPassword = "nobody", "hunter2", true
		err := dial(t, u.dialer(nil), target)
		wantError(t, err, transport.ErrUnauthorized, "the password is wrong")
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the error: %v", err)
		}
	})
	t.Run("configured key", func(t *testing.T) {
		u.configure(t, "IdentityFile "+u.file("right"))
		if err := dial(t, u.dialer(nil), at(t, server)); err != nil {
			t.Error(err)
		}
	})
	t.Run("configured key that isn't there", func(t *testing.T) {
		u.configure(t, "IdentityFile ~/.ssh/missing")
		wantError(t, dial(t, u.dialer(nil), at(t, server)), transport.ErrUnauthorized, u.file("missing")+": no such file")
	})
	t.Run("readable by others", func(t *testing.T) {
		u.configure(t, "IdentityFile "+u.file("right"))
		chmod(t, u.file("right"), 0o644)
		wantError(t, dial(t, u.dialer(nil), at(t, server)), transport.ErrUnauthorized, "can be read by others", "chmod 600")
		chmod(t, u.file("right"), 0o600)
	})
	t.Run("too many keys", func(t *testing.T) {
		var lines []string
		for i := range 8 {
			name := fmt.Sprintf("many%d", i)
			u.key(t, name, "ed25519", "")
			lines = append(lines, "IdentityFile "+u.file(name))
		}
		u.configure(t, lines...)
		wantError(t, dial(t, u.dialer(nil), at(t, server)), transport.ErrUnauthorized, "IdentitiesOnly")
	})
}

func TestEncryptedKey(t *testing.T) {
	for _, format := range []string{"OpenSSH", "PEM"} {
		t.Run(format, func(t *testing.T) {
			u := newUser(t)
			public := u.key(t, "id_rsa", "rsa", "open sesame")
			if format == "PEM" {
				out, err := exec.Command("ssh-keygen", "-q", "-p", "-m", "PEM", "-P", "open sesame", "-N", "open sesame", "-f", u.file("id_rsa")).CombinedOutput()
				if err != nil {
					t.Fatalf("ssh-keygen: %v: %s", err, out)
				}
			}
			server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{public}})
			u.write(t, "known_hosts", server.KnownHosts())
			testEncrypted(t, u, at(t, server))
		})
	}
}

// A server that loses patience before the user does is not asked again.
func TestTooManyWrongAnswers(t *testing.T) {
	u := newUser(t)
	server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{u.key(t, "id_ed25519", "ed25519", "open sesame")}, Config: "MaxAuthTries 2\nKbdInteractiveAuthentication no"})
	u.write(t, "known_hosts", server.KnownHosts())
	var asked atomic.Int32
	d := u.dialer(func(context.Context, string) ([]byte, error) {
		asked.Add(1)
		return []byte("open barley"), nil
	})
	wantError(t, dial(t, d, at(t, server)), transport.ErrUnauthorized, "the server gave up", "the password given on the terminal is wrong", "the passphrase was wrong 3 times")
	before := asked.Load()
	wantError(t, dial(t, d, at(t, server)), transport.ErrUnauthorized, "the passphrase was wrong 3 times")
	if n := asked.Load(); n != before {
		t.Errorf("asked %d times, and then %d more", before, n-before)
	}
}

func testEncrypted(t *testing.T, u user, target openssh.Target) {
	var asked atomic.Int32
	answer := func(answers ...string) openssh.AskFunc {
		asked.Store(0)
		return func(_ context.Context, prompt string) ([]byte, error) {
			if !strings.Contains(prompt, u.file("id_rsa")) {
				t.Errorf("asked %q", prompt)
			}
			n := int(asked.Add(1))
			return []byte(answers[min(n, len(answers))-1]), nil
		}
	}
	t.Run("asked once for many connections", func(t *testing.T) {
		d := u.dialer(answer("open sesame"))
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := dial(t, d, target); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("second try", func(t *testing.T) {
		if err := dial(t, u.dialer(answer("wrong", "open sesame")), target); err != nil || asked.Load() != 2 {
			t.Errorf("asked %d times: %v", asked.Load(), err)
		}
	})
	t.Run("wrong", func(t *testing.T) {
		u.configure(t, "PasswordAuthentication no", "KbdInteractiveAuthentication no")
		defer u.configure(t)
		d := u.dialer(answer("wrong"))
		for range 2 {
			wantError(t, dial(t, d, target), transport.ErrUnauthorized, "the passphrase was wrong 3 times")
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("asked %d times; want 3, and not again for the second connection", n)
		}
	})
	t.Run("no terminal", func(t *testing.T) {
		err := dial(t, u.dialer(nil), target)
		if strings.Contains(err.Error(), "is wrong") {
			t.Errorf("nobody gave a password: %v", err)
		}
		wantError(t, err, transport.ErrUnauthorized, u.file("id_rsa")+" is encrypted and there is no terminal", "ssh-agent: ssh-add "+u.file("id_rsa"))
	})
	t.Run("BatchMode", func(t *testing.T) {
		u.configure(t, "BatchMode yes")
		defer u.configure(t)
		wantError(t, dial(t, u.dialer(answer("open sesame")), target), transport.ErrUnauthorized, "BatchMode")
		if n := asked.Load(); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("cancelled while asking", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := u.dialer(func(ctx context.Context, _ string) ([]byte, error) {
			cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		}).Dial(ctx, target)
		if err != context.Canceled {
			t.Errorf("got %v", err)
		}
	})
}

func TestAgent(t *testing.T) {
	u := newUser(t)
	public := u.key(t, "held", "ed25519", "")
	server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{public}})
	u.write(t, "known_hosts", server.KnownHosts())
	socket := filepath.Join(t.TempDir(), "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	add := func(key string) error {
		c := exec.Command("ssh-add", "-q", key)
		c.Env = append(c.Environ(), "SSH_AUTH_SOCK="+socket)
		return c.Run()
	}
	for add(u.file("held")) != nil {
		if t.Context().Err() != nil {
			t.Fatal("no agent")
		}
	}
	remove(t, u.file("held"))
	t.Setenv("SSH_AUTH_SOCK", socket)

	for _, test := range []struct {
		name   string
		config []string
		text   string // of an error
	}{
		{"SSH_AUTH_SOCK", nil, ""},
		{"IdentityAgent", []string{"IdentityAgent " + socket}, ""},
		{"IdentityAgent $SSH_AUTH_SOCK", []string{"IdentityAgent $SSH_AUTH_SOCK"}, ""},
		{"IdentitiesOnly with the public half", []string{"IdentitiesOnly yes", "IdentityFile ~/.ssh/held"}, ""},
		{"IdentitiesOnly naming the public half", []string{"IdentitiesOnly yes", "IdentityFile ~/.ssh/held.pub"}, ""},
		{"IdentitiesOnly", []string{"IdentitiesOnly yes"}, "no key or password to offer"},
		{"none", []string{"IdentityAgent none"}, "no key or password to offer"},
		{"unreachable", []string{"IdentityAgent ~/nothing"}, "agent: dial unix"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u.configure(t, test.config...)
			err := dial(t, u.dialer(nil), at(t, server))
			if test.text != "" {
				wantError(t, err, transport.ErrUnauthorized, test.text)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUserCertificate(t *testing.T) {
	u := newUser(t)
	authority := u.key(t, "authority", "ed25519", "")
	u.key(t, "id_ed25519", "ed25519", "")
	server := start(t, realserver.SSHDOptions{AuthorizedKeys: []string{"cert-authority " + authority}})
	u.write(t, "known_hosts", server.KnownHosts())
	wantError(t, dial(t, u.dialer(nil), at(t, server)), transport.ErrUnauthorized)
	out, err := exec.Command("ssh-keygen", "-q", "-s", u.file("authority"), "-I", "me", "-n", username(t), u.file("id_ed25519.pub")).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	if err := dial(t, u.dialer(nil), at(t, server)); err != nil {
		t.Error(err)
	}
}
