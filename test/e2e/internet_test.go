package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
)

// internet is a network of a test's own in which every address there is leads to
// one server: at public ones it serves hosts over HTTPS, at all others it is a
// trap that counts who comes.
type internet struct {
	t     *testing.T
	ca    *realserver.CA
	hosts map[string]http.Handler

	mu     sync.Mutex
	inside []string // addresses within that were connected to, and where nobody should be
}

// trapPorts are those at which somebody listens: every protocol that a document
// may try to have spoken.
var trapPorts = []string{"21", "22", "80", "443", "990", "2222", "5000", "8080"}

// onInternet runs the calling test again in a child with namespaces of its own,
// where it returns an internet; in the parent it returns nil when the child is
// done. Names resolve as told, all others not at all, and are all served by hosts.
func onInternet(t *testing.T, names map[string]string, hosts map[string]http.Handler) *internet {
	t.Helper()
	const inside = "WAYBILL_E2E_TEST_INTERNET"
	if os.Getenv(inside) != t.Name() {
		runInNamespaces(t, inside+"="+t.Name())
		return nil
	}
	for _, command := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"},
		{"ip", "-6", "route", "add", "local", "::/0", "dev", "lo"},
	} {
		peer(t, command[0], command[1:]...)
	}
	resolver := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolver, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(resolver, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	netclasstest.ServeNames(t, "127.0.0.1:53", names)
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{t: t, ca: ca, hosts: hosts}
	n.serve(names)
	return n
}

// runInNamespaces runs the calling test again in a child with a network and
// mounts of its own.
func runInNamespaces(t *testing.T, env string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env, "WAYBILL_BINARY="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a network namespace (which needs root, or user namespaces allowed): %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("in namespaces of its own:\n%s", out)
	}
}

// serve listens at every port.
func (n *internet) serve(names map[string]string) {
	n.t.Helper()
	var served []string
	for name := range names {
		served = append(served, name)
	}
	slices.Sort(served)
	issued, err := n.ca.Issue(n.t.TempDir(), served...)
	if err != nil {
		n.t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(issued.CertFile, issued.KeyFile)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, port := range trapPorts {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { l.Close() })
		gate := &gate{l, n, port == "443"}
		if port != "443" {
			go gate.Accept() // nobody gets through
			continue
		}
		server := &http.Server{
			Handler:   http.HandlerFunc(n.answer),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
			ErrorLog:  log.New(n.t.Output(), "", 0),
		}
		n.t.Cleanup(func() { server.Close() })
		go server.ServeTLS(gate, "", "")
	}
}

func (n *internet) answer(w http.ResponseWriter, r *http.Request) {
	if h := n.hosts[r.Host]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// gate lets through who came to a public address, where that is open, and
// notes everybody else.
type gate struct {
	net.Listener
	n    *internet
	open bool
}

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.open && netclass.OfAddr(c.LocalAddr()) == netclass.Public {
			return c, nil
		}
		g.n.mu.Lock()
		g.n.inside = append(g.n.inside, c.LocalAddr().String())
		g.n.mu.Unlock()
		c.Close()
	}
}

// nobodyInside fails the test if there was a connection that nobody may make.
func (n *internet) nobodyInside(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.inside) > 0 {
		t.Errorf("connections were made to %v", n.inside)
	}
	n.inside = nil
}

// works fails the test unless the trap catches who does come, so that an empty
// one means something.
func (n *internet) works() {
	n.t.Helper()
	for _, addr := range []string{"127.0.0.1:443", "10.0.0.1:80", "169.254.169.254:80", "[64:ff9b::a00:1]:443", "1.1.1.1:22"} {
		c, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		if err != nil {
			n.t.Fatalf("nobody listens at %s: %v", addr, err)
		}
		_, _ = c.Read(make([]byte, 1)) // until it was caught
		c.Close()
		n.mu.Lock()
		caught := n.inside
		n.inside = nil
		n.mu.Unlock()
		if fmt.Sprint(caught) != "["+addr+"]" {
			n.t.Fatalf("connected to %s, caught %v", addr, caught)
		}
	}
}

// user is somebody on this internet.
func (n *internet) user(t *testing.T) *user {
	u := newUser(t)
	u.setenv("SSL_CERT_FILE", n.ca.File)
	return u
}
