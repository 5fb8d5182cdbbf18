package sftp_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		u := newUser(t)
		server := startSSHD(t, realserver.SSHDOptions{AuthorizedKeys: []string{u.public}})
		noSFTP := startSSHD(t, realserver.SSHDOptions{AuthorizedKeys: []string{u.public}, NoSFTP: true})
		busy := startSSHD(t, realserver.SSHDOptions{AuthorizedKeys: []string{u.public}, Config: "MaxStartups 1"})
		u.knows(t, server, noSFTP, busy)
		tree := t.TempDir()
		put := func(t testing.TB, b transporttest.Blob) { putBlob(t, tree, b) }
		h := transporttest.Harness{
			Transport: u.transport(t, nil),
			Put: func(t testing.TB, b transporttest.Blob) transport.Route {
				put(t, b)
				return transport.Route{URI: uri(server.Host, tree)}
			},
			Stop: func(testing.TB) { server.Stop() },
			Start: func(t testing.TB) {
				if err := server.Start(context.Background()); err != nil {
					t.Fatal(err)
				}
			},
			Pause:  func(t testing.TB) { must(t, server.Pause()) },
			Resume: func(t testing.TB) { must(t, server.Resume()) },
		}
		h.Faults = map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied: func(t testing.TB, b transporttest.Blob) transport.Route {
				put(t, b)
				return denied(t, server, tree, b)
			},
			transporttest.Throttled: func(t testing.TB, b transporttest.Blob) transport.Route {
				occupy(t, busy.Host)
				return transport.Route{URI: uri(busy.Host, tree)}
			},
			transporttest.Temporary: func(t testing.TB, b transporttest.Blob) transport.Route {
				return transport.Route{URI: uri(nobodyListens(t), tree)}
			},
			transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
				return transport.Route{URI: uri(noSFTP.Host, tree)}
			},
			transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
				put(t, b)
				u.write(t, "known_hosts", server.KnownHosts()+busy.KnownHosts()+noSFTP.KnownHosts()+alias("cut", server))
				u.configure(t, "IdentityAgent none", "Host cut", "HostName 127.0.0.1", "HostKeyAlias cut", "Port "+port(t, cutOff(t, server.Host)))
				return transport.Route{URI: uri("cut", tree)}
			},
		}
		return h
	})
}

func putBlob(t testing.TB, tree string, b transporttest.Blob) {
	t.Helper()
	path := blobFile(tree, b)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	b.WriteFile(t, path)
}

func blobFile(tree string, b transporttest.Blob) string {
	return filepath.Join(tree, b.Digest.Algorithm().String(), b.Digest.Encoded())
}

// denied returns a route by which the server may not read the blob: as a user
// who may not enter the tests' directories, or, where the server is no root and
// there is only one user, with a file that nobody may read.
func denied(t testing.TB, s *realserver.SSHD, tree string, b transporttest.Blob) transport.Route {
	t.Helper()
	if os.Getuid() == 0 {
		return transport.Route{URI: uri("nobody@"+s.Host, tree)}
	}
	if err := os.Chmod(blobFile(tree, b), 0); err != nil {
		t.Fatal(err)
	}
	return transport.Route{URI: uri(s.Host, tree)}
}

// occupy takes the only place for a client that hasn't logged in.
func occupy(t testing.TB, host string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		banner := make([]byte, 4)
		if _, err := c.Read(banner); err == nil && string(banner) == "SSH-" {
			t.Cleanup(func() { c.Close() })
			return
		}
		c.Close() // what asked whether the server is ready has the place yet
		if time.Now().After(deadline) {
			t.Fatal("the place doesn't become free")
		}
	}
}

// nobodyListens returns an address that refuses connections.
func nobodyListens(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// alias returns the known_hosts lines of a server under another name.
func alias(name string, s *realserver.SSHD) string {
	lines := ""
	for _, key := range s.HostKeys {
		lines += name + " " + key + "\n"
	}
	return lines
}

// cutOff returns the address of a relay to host that hangs up after 100 kB.
func cutOff(t testing.TB, host string) string {
	t.Helper()
	r, err := realserver.StartRelay("127.0.0.1:0", host, 200_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for r.Sent() < 100_000 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		r.Cut()
	}()
	return r.Addr
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
