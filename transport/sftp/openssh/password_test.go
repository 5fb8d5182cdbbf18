package openssh_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// passwordServer is an SSH server that only lets people in. A real one would
// need accounts with passwords on the machine that runs the tests.
func passwordServer(t *testing.T, u user, config *ssh.ServerConfig) openssh.Target {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if conn, channels, requests, err := ssh.NewServerConn(c, config); err == nil {
					go ssh.DiscardRequests(requests)
					go func() {
						for ch := range channels {
							_ = ch.Reject(ssh.Prohibited, "none") // the client has hung up
						}
					}()
					_ = conn.Wait() // it always ends with an error
				}
			}()
		}
	}()
	u.write(t, "known_hosts", "127.0.0.1 "+string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return openssh.Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "alice"}
}

func TestPasswords(t *testing.T) {
	u := newUser(t)
	errWrong := errors.New("wrong")
	check := func(password string) (*ssh.Permissions, error) {
		if password == "open sesame" {
			return nil, nil
		}
		return nil, errWrong
	}
	byPassword := func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) { return check(string(password)) }
	byQuestion := func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		answers, err := ask("", "", []string{"Pass\x1b[2Jword: "}, []bool{false})
		if err != nil || len(answers) != 1 {
			return nil, errWrong
		}
		return check(answers[0])
	}
	byKeyAndPassword := func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PasswordCallback: byPassword}}
	}
	u.key(t, "id_ed25519", "ed25519", "")

	for name, config := range map[string]ssh.ServerConfig{
		"password":             {PasswordCallback: byPassword},
		"keyboard-interactive": {KeyboardInteractiveCallback: byQuestion},
		"key, then password":   {PublicKeyCallback: byKeyAndPassword},
	} {
		t.Run(name, func(t *testing.T) {
			testPassword(t, u, passwordServer(t, u, &config), config.PublicKeyCallback == nil)
		})
	}
}

func testPassword(t *testing.T, u user, target openssh.Target, alone bool) {
	if alone {
		t.Run("of the URI", func(t *testing.T) {
			target := target
			target.HasPassword, target.Password = true, "open sesame"
			if err := dial(t, u.dialer(nil), target); err != nil {
				t.Error(err)
			}
			target.Password = "wrong"
			wantError(t, dial(t, u.dialer(nil), target), transport.ErrUnauthorized, "the password is wrong")
		})
	}
	var asked atomic.Int32
	terminal := func(answers ...string) *openssh.Dialer {
		asked.Store(0)
		return u.dialer(func(_ context.Context, prompt string) ([]byte, error) {
			if !strings.HasPrefix(prompt, "alice@127.0.0.1: Pass") || strings.Contains(prompt, "\x1b") {
				t.Errorf("asked %q", prompt)
			}
			n := int(asked.Add(1))
			return []byte(answers[min(n, len(answers))-1]), nil
		})
	}
	for _, test := range []struct {
		name    string
		answers []string
		asked   int32
		kind    error
	}{
		{"asked once for two connections", []string{"open sesame"}, 1, nil},
		{"third try", []string{"wrong", "wrong", "open sesame"}, 3, nil},
		{"wrong, and not asked again", []string{"wrong"}, 3, transport.ErrUnauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := terminal(test.answers...)
			for range 2 {
				if err := dial(t, d, target); !errors.Is(err, test.kind) {
					t.Errorf("got %v", err)
				}
			}
			if n := asked.Load(); n != test.asked {
				t.Errorf("asked %d times; want %d", n, test.asked)
			}
		})
	}
	t.Run("no terminal", func(t *testing.T) {
		wantError(t, dial(t, u.dialer(nil), target), transport.ErrUnauthorized, "there is no terminal to ask for a password")
	})
	t.Run("forbidden by configuration", func(t *testing.T) {
		u.configure(t, "PasswordAuthentication no", "KbdInteractiveAuthentication no")
		defer u.configure(t)
		wantError(t, dial(t, terminal("open sesame"), target), transport.ErrUnauthorized)
		if n := asked.Load(); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}
