package ipfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/ipfs"
	"github.com/waybill-project/waybill/transport/netclass"
)

// A gateway with a password gets it, and whoever it redirects to doesn't.
func TestCredentials(t *testing.T) {
	b, d, root := blobOf(t)
	g := &fakeGateway{d: d}
	behind := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the password went along")
		}
		g.ServeHTTP(w, r)
	})
	front := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, behind+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
	for password, want := range map[string]error{"secret": nil, "wrong": transport.ErrUnauthorized} {
		gateway := strings.Replace(front, "://", "://me:"+password+"@", 1)
		tr := newTransport(t, ipfs.Options{Gateways: []string{gateway}})
		got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
		if !errors.Is(err, want) || want == nil && !bytes.Equal(got, b.Bytes()) {
			t.Errorf("password %q: %d bytes, %v", password, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the password is in %v", err)
		}
	}
}

// Content at one gateway is had of that gateway only, below its base, and the
// gateway isn't asked for what others name.
func TestContentAtAGateway(t *testing.T) {
	b, d, root := blobOf(t)
	g := &fakeGateway{d: d}
	at := serve(t, http.StripPrefix("/base", g).ServeHTTP)
	other := &fakeGateway{d: newDAG(t)}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, other.ServeHTTP)}, Reading: ipfs.Blocks})
	got, err := read(t, tr, "ipfs+"+at+"/base/ipfs/"+root.String(), b.Descriptor())
	if err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := other.raws.Load(); n != 0 {
		t.Errorf("another gateway was asked %d times", n)
	}
	before := g.raws.Load()
	if _, err := read(t, tr, "ipfs://"+root.String(), transporttest.NewBlob(8, b.Size).Descriptor()); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("of the configured gateway: %v", err)
	}
	if g.raws.Load() != before {
		t.Error("the gateway of one place was asked for another")
	}
}

// A gateway that somebody else's document names may be in no nearer network than
// such a document may lead to.
func TestGatewayOfAStranger(t *testing.T) {
	b, d, root := blobOf(t)
	g := &fakeGateway{d: d}
	at := serve(t, g.ServeHTTP)
	tr := newTransport(t, ipfs.Options{})
	small := transporttest.NewBlob(9, 1000).Descriptor()
	for uri, desc := range map[string]ocispec.Descriptor{"ipfs+" + at: small, "ipfs+" + at + "/ipfs/" + root.String(): b.Descriptor()} {
		route := transport.Route{URI: uri, Origin: "a waybill", Remote: transport.RemotePublic}
		if _, err := tr.Open(t.Context(), route, desc, 0, desc.Size); !errors.Is(err, transport.ErrRefused) {
			t.Errorf("%s: %v", uri, err)
		}
		if _, err := tr.Size(t.Context(), route, desc); !errors.Is(err, transport.ErrRefused) {
			t.Errorf("size at %s: %v", uri, err)
		}
	}
	if n := g.raws.Load(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	route := transport.Route{URI: "ipfs+" + at + "/ipfs/" + root.String(), Remote: transport.RemoteIn(netclass.Loopback)}
	r, err := tr.Open(t.Context(), route, b.Descriptor(), 0, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// One of two gateways dies while a file is read; the reader doesn't notice.
func TestGatewayDiesInTheMiddle(t *testing.T) {
	b := transporttest.NewBlob(5, 40<<20)
	file := filepath.Join(t.TempDir(), "file")
	b.WriteFile(t, file)
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			first, second := startKubo(t, nil), startKubo(t, nil)
			var id string
			for _, kubo := range []*realserver.Kubo{first, second} {
				var err error
				if id, err = kubo.Add(t.Context(), file); err != nil {
					t.Fatal(err)
				}
			}
			tr := newTransport(t, ipfs.Options{Gateways: []string{first.Gateway, second.Gateway}, Reading: reading})
			open := func() io.ReadCloser {
				t.Helper()
				r, err := tr.Open(t.Context(), transport.Route{URI: "ipfs://" + id}, b.Descriptor(), 0, b.Size)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := open()
			defer r.Close()
			head := make([]byte, 3<<20)
			if _, err := io.ReadFull(r, head); err != nil {
				t.Fatal(err)
			}
			first.Stop()
			rest, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(append(head, rest...), b.Bytes()) {
				t.Fatalf("%d bytes, %v", len(head)+len(rest), err)
			}
			last := open()
			defer last.Close()
			if _, err := io.ReadFull(last, head); err != nil {
				t.Fatal(err)
			}
			second.Stop()
			_, err = io.Copy(io.Discard, last)
			if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), first.Gateway) || !strings.Contains(err.Error(), second.Gateway) {
				t.Errorf("with both dead: %v", err)
			}
		})
	}
}

// Who has something is asked first for the rest of it.
func TestWhoServedIsAskedFirst(t *testing.T) {
	b, d, root := blobOf(t)
	empty, full := &fakeGateway{d: newDAG(t)}, &fakeGateway{d: d}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, empty.ServeHTTP), serve(t, full.ServeHTTP)}, Reading: ipfs.Blocks})
	for range 10 {
		if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if n := empty.raws.Load(); n != 1 {
		t.Errorf("the gateway that has nothing was asked %d times", n)
	}
}

// A gateway that doesn't answer is passed over when the caller comes back.
func TestMuteGateway(t *testing.T) {
	b, d, root := blobOf(t)
	mute := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tr := newTransport(t, ipfs.Options{Gateways: []string{mute, serve(t, (&fakeGateway{d: d}).ServeHTTP)}})
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if _, err := tr.Open(ctx, transport.Route{URI: "ipfs://" + root.String()}, b.Descriptor(), 0, b.Size); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// And while there is another, it isn't waited for in vain.
	tr = newTransport(t, ipfs.Options{Gateways: []string{mute, serve(t, (&fakeGateway{d: d}).ServeHTTP)}})
	if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The kubo of this machine is found by itself, in every way there is.
func TestLocalKubo(t *testing.T) {
	kubo := startKubo(t, nil)
	b := transporttest.NewBlob(9, 1000)
	file := filepath.Join(t.TempDir(), "file")
	b.WriteFile(t, file)
	id, err := kubo.Add(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	repo := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			content, err := os.ReadFile(filepath.Join(kubo.Repo, f))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	home := t.TempDir()
	if err := os.Symlink(kubo.Repo, filepath.Join(home, ".ipfs")); err != nil {
		t.Fatal(err)
	}
	const none = "no IPFS gateway to ask: start kubo"
	tests := []struct {
		name, gateway, path, home string
		want                      string // in the error
	}{
		{"$IPFS_GATEWAY", kubo.Gateway, "", "", ""},
		{"$IPFS_GATEWAY by name", strings.Replace(kubo.Gateway, "127.0.0.1", "localhost", 1), "", "", ""},
		{"$IPFS_PATH", "", kubo.Repo, "", ""},
		{"home", "", "", home, ""},
		{"file gateway", "", repo("gateway"), "", ""},
		{"files api and config", "", repo("api", "config"), "", ""},
		{"file config of a kubo that isn't running", "", repo("config"), "", none},
		{"$IPFS_GATEWAY that is no URL", "user:secret@host", kubo.Repo, "", "$IPFS_GATEWAY: not an http or https URL"},
		{"nothing", "", t.TempDir(), "", none},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("IPFS_GATEWAY", tt.gateway)
			t.Setenv("IPFS_PATH", tt.path)
			t.Setenv("HOME", tt.home)
			tr, err := ipfs.New(httpclient.New(httpclient.Options{}), ipfs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			got, err := read(t, tr, "ipfs://"+id, b.Descriptor())
			if tt.want == "" {
				if err != nil || !bytes.Equal(got, b.Bytes()) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				return
			}
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a delegated router names is used, in the public network only.
func TestProviders(t *testing.T) {
	b, d, root := blobOf(t)
	provider := serve(t, (&fakeGateway{d: d}).ServeHTTP)
	_, port, _ := strings.Cut(strings.TrimPrefix(provider, "http://"), ":")
	record := fmt.Sprintf(`{"Schema":"peer","ID":"12D3KooWM8sovaEGU1bmiWGWAzvs47DEcXKZZTuJnpQyVTkRs2Vn","Addrs":["/ip4/127.0.0.1/tcp/%s/http"],"Protocols":["transport-ipfs-gateway-http"]}`, port)
	for name, answer := range map[string][2]string{
		"JSON":   {"application/json", `{"Providers":[{"Schema":"bitswap"},` + record + `]}`},
		"NDJSON": {"application/x-ndjson", `{"Schema":"bitswap"}` + "\n" + record + "\n"},
	} {
		var asked atomic.Int64
		router := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if r.URL.Path != "/routing/v1/providers/"+root.String() {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", answer[0])
			_, _ = w.Write([]byte(answer[1]))
		})
		t.Run(name+"/refused", func(t *testing.T) {
			tr := newTransport(t, ipfs.Options{Routers: []string{router}})
			_, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
			if !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "loopback") {
				t.Errorf("got %v", err)
			}
		})
		t.Run(name+"/trusted", func(t *testing.T) {
			client := httpclient.New(httpclient.Options{Trusted: func(host string) bool { return host == strings.TrimPrefix(provider, "http://") }})
			tr, err := ipfs.New(client, ipfs.Options{NoLocal: true, Routers: []string{router}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			before := asked.Load()
			for range 3 {
				got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
				if err != nil || !bytes.Equal(got, b.Bytes()) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
			if n := asked.Load() - before; n != 1 {
				t.Errorf("the router was asked %d times", n)
			}
		})
	}
	t.Run("kubo, which knows nobody", func(t *testing.T) {
		kubo := startKubo(t, nil)
		tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}, Routers: []string{kubo.Gateway}})
		if _, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); !errors.Is(err, transport.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		tr = newTransport(t, ipfs.Options{Routers: []string{kubo.Gateway}})
		if _, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); !errors.Is(err, transport.ErrNotFound) ||
			!strings.Contains(err.Error(), "routers know of none that has it") {
			t.Errorf("without a gateway: %v", err)
		}
	})
}
