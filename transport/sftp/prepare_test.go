package sftp_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// answering is a user with an encrypted key, whose answers are counted.
type answering struct {
	fixture
	asked, answered atomic.Int32
	blob            transporttest.Blob
}

const passphrase = "open sesame"

func newAnswering(t *testing.T) *answering {
	t.Helper()
	a := &answering{fixture: fixture{user: newUser(t), tree: t.TempDir()}}
	if err := os.Remove(a.file("id_ed25519")); err != nil {
		t.Fatal(err)
	}
	public, err := realserver.SSHKeygen(t.Context(), "-t", "ed25519", "-N", passphrase, "-f", a.file("id_rsa"))
	if err != nil {
		t.Fatal(err)
	}
	a.server = startSSHD(t, realserver.SSHDOptions{AuthorizedKeys: []string{public}, Config: "PasswordAuthentication no\nKbdInteractiveAuthentication no"})
	a.knows(t, a.server)
	a.blob = a.put(t, 1000)
	return a
}

// options make the user answer after some thought.
func (a *answering) options(answer string, thought time.Duration) openssh.Options {
	return openssh.Options{Home: a.home, SystemConfig: os.DevNull, AskPassphrase: func(ctx context.Context, _ string) ([]byte, error) {
		a.asked.Add(1)
		select {
		case <-time.After(thought):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		a.answered.Add(1)
		return []byte(answer), nil
	}}
}

func (a *answering) open(t *testing.T, tr *sftp.Transport) error {
	t.Helper()
	r, err := tr.Open(t.Context(), a.route(), a.blob.Descriptor(), 0, a.blob.Size)
	if err == nil {
		r.Close()
	}
	return err
}

func closing(t *testing.T, tr *sftp.Transport) *sftp.Transport {
	t.Helper()
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func TestPrepare(t *testing.T) {
	a := newAnswering(t)
	tr := closing(t, sftp.New(a.options(passphrase, 0)))
	for range 2 { // the second time there is nothing to ask
		if err := tr.Prepare(t.Context(), a.route().URI); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.open(t, tr); err != nil {
		t.Error(err)
	}
	if asked, conns := a.asked.Load(), tr.Connections(); asked != 1 || conns != 1 {
		t.Errorf("asked %d times, %d connections", asked, conns)
	}
}

// Prepare has patience with the user: what is asked takes as long as it takes.
func TestPrepareWaitsForTheUser(t *testing.T) {
	a := newAnswering(t)
	const patience = 2 * time.Second // more than a login takes
	tr := closing(t, sftp.NewImpatient(a.options(passphrase, patience*3/2), patience))
	if err := tr.Prepare(t.Context(), a.route().URI); err != nil || a.answered.Load() != 1 {
		t.Errorf("back with %d answers: %v", a.answered.Load(), err)
	}
}

func TestPrepareFails(t *testing.T) {
	t.Run("wrong passphrase", func(t *testing.T) {
		a := newAnswering(t)
		tr := closing(t, sftp.New(a.options("open barley", 0)))
		for what, err := range map[string]error{"Prepare": tr.Prepare(t.Context(), a.route().URI), "Open": a.open(t, tr)} {
			if !errors.Is(err, transport.ErrUnauthorized) || !strings.Contains(err.Error(), "the passphrase was wrong 3 times") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := a.asked.Load(); n != 3 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("cancelled while asking", func(t *testing.T) {
		a := newAnswering(t)
		tr := closing(t, sftp.New(a.options(passphrase, time.Hour)))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for a.asked.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if err := tr.Prepare(ctx, a.route().URI); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("URI", func(t *testing.T) {
		if err := closing(t, sftp.New(openssh.Options{})).Prepare(t.Context(), "sftp://host"); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("got %v", err)
		}
	})
}

// A host that says nothing is not waited for: there are others.
func TestPrepareHasLittlePatience(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := newAnswering(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // the host goes on being tried until then
	tr := closing(t, sftp.NewImpatient(a.options(passphrase, 0), 100*time.Millisecond))
	if err := tr.Prepare(ctx, uri(l.Addr().String(), a.tree)); err != nil {
		t.Error(err)
	}
}
