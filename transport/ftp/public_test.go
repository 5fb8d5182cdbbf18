package ftp_test

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ftp"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
)

var content = ocispec.Descriptor{Digest: digest.FromString("content"), Size: 7}

// open reads the blob "content" at a route.
func open(t testing.TB, tr *ftp.Transport, r transport.Route) (string, error) {
	t.Helper()
	body, err := tr.Open(t.Context(), r, content, 0, content.Size)
	if err != nil {
		return "", err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	return string(got), err
}

func named(uri string) transport.Route {
	return transport.Route{URI: uri, Origin: "https://doc.example/x", Remote: transport.RemotePublic}
}

// Nobody else may send us to a narrow network.
func TestPublicKeepsToTheInternet(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	for _, host := range netclasstest.Hosts(t, trap.Port) {
		t.Run(host.Name, func(t *testing.T) {
			tr := newTransport(t, ftp.Options{Public: true})
			for _, uri := range []string{"ftp://" + host.Host + "/d", "ftp://" + host.Host + "/f;type=i", "ftps://" + host.Host} {
				_, err := open(t, tr, named(uri))
				if !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "may not send us there") {
					t.Errorf("%s: %v", uri, err)
				}
			}
		})
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// What local configuration trusts may be named by anyone, by its host or with
// the port; the data come from there too, wherever PASV points.
func TestPublicTrusts(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	f := startFake(t, &fake{content: []byte("content"), answers: map[string]string{"EPSV": "500 What?"}})
	trusted := func(host string) bool { return host == f.listener.Addr().String() }
	got, err := open(t, newTransport(t, ftp.Options{Public: true, Trusted: trusted}), named(f.uri()+"/f;type=i"))
	if err != nil || got != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	networks := netclass.Networks{netip.MustParsePrefix("127.0.0.0/24")}
	got, err = open(t, newTransport(t, ftp.Options{Public: true, TrustedNetworks: networks}), named(f.uri()+"/f;type=i"))
	if err != nil || got != "content" {
		t.Errorf("in a trusted network: got %q, %v", got, err)
	}
	if _, err := open(t, newTransport(t, ftp.Options{Public: true, Trusted: trusted}), named("ftp://"+trap.Host+"/d")); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("another host: %v", err)
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// Others choose no credentials: those in the URI are refused, those of the user
// stay here.
func TestPublicIsAnonymous(t *testing.T) {
	f := startFake(t, &fake{content: []byte("content")})
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("default login anonymous password s3cret\nmachine 127.0.0.1 login ann password s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := newTransport(t, ftp.Options{Public: true, Netrc: netrc, Trusted: func(string) bool { return true }})
	if got, err := open(t, tr, named(f.uri())); err != nil || got != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	f.mu.Lock()
	sent := strings.Join(f.commands, "\n")
	f.mu.Unlock()
	if !strings.Contains(sent, "USER anonymous") || strings.Contains(sent, "s3cret") {
		t.Errorf("sent\n%s", sent)
	}
	for _, user := range []string{"ann", "ann:pw", "anonymous:pw"} {
		_, err := open(t, tr, named(strings.Replace(f.uri(), "://", "://"+user+"@", 1)))
		if !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "with a user") || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v", user, err)
		}
	}
	if n := f.sent("USER"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// The transport with the user's logins reads no place that others named.
func TestOthersPlacesNeedAPublicTransport(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	tr := newTransport(t, ftp.Options{})
	for _, uri := range []string{"ftp://" + trap.Host + "/d", "ftp://" + trap.Host + "/d/f;type=i"} {
		if _, err := open(t, tr, named(uri)); !errors.Is(err, transport.ErrRefused) {
			t.Errorf("%s: %v", uri, err)
		}
		if _, err := tr.Size(t.Context(), named(uri), content); !errors.Is(err, transport.ErrRefused) {
			t.Errorf("size of %s: %v", uri, err)
		}
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestCheckFile(t *testing.T) {
	tr := newTransport(t, ftp.Options{})
	for uri, says := range map[string]string{
		"ftp://h/d/f.tar;type=i":  "",
		"ftp://h/f;type=i":        "",
		"ftp://h/%2Fsrv/f;type=i": "",
		"ftp://h/d/;type=i":       "names no file",
		"ftp://h;type=i":          "names no file",
		"ftp://h/f;type=a":        "TYPE I",
		"ftp://h/d;type=i/f":      "TYPE I",
		"ftp://h/%zz;type=i":      "names no file",
		"ftp://u:s3cret@h;type=i": "names no file",
		"ftp://h?x/f;type=i":      "percent-encode",
	} {
		err := tr.Check(uri)
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %v; want %q", uri, err, says)
		}
	}
}
