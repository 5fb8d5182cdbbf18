package registry_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

func TestPlaceURI(t *testing.T) {
	tests := []struct {
		place registry.Place
		want  string
	}{
		{registry.Place{Host: "m.example"}, "docker://m.example/team/app"},
		{registry.Place{Host: "m.example:5000", NS: "docker.io"}, "docker://m.example:5000/team/app?ns=docker.io"},
		{registry.Place{Host: "[::1]:5000", NS: "[::2]:5000"}, "docker://[::1]:5000/team/app?ns=%5B::2%5D:5000"},
		{registry.Place{Host: "m.example", Base: "/us/v2"}, "docker://m.example/team/app?base=/us/v2"},
		{registry.Place{Host: "m.example", Base: "/"}, "docker://m.example/team/app?base=/"},
		{registry.Place{Host: "m.example", Base: "/a%2Fb&c=d+e"}, "docker://m.example/team/app?base=/a%252Fb%26c%3Dd%2Be"},
		{registry.Place{Host: "m.example", PlainHTTP: registry.Only, Insecure: true}, "docker://m.example/team/app?insecure=true&plain-http=only"},
	}
	c := fakeClient(t, registry.Options{})
	for _, tt := range tests {
		got := tt.place.URI("team/app")
		if got != tt.want {
			t.Errorf("%+v is %s, want %s", tt.place, got, tt.want)
		}
		if err := c.Check(got); err != nil {
			t.Errorf("%s is refused: %v", got, err)
		}
		if registry.Plain(got) != (tt.place == registry.Place{Host: tt.place.Host}) {
			t.Errorf("Plain(%s) = %v", got, registry.Plain(got))
		}
	}
}

func TestMalformedPlaces(t *testing.T) {
	c := fakeClient(t, registry.Options{})
	for query, text := range map[string]string{
		"x=y":                                 `unknown parameter "x"`,
		"ns=a&ns=b":                           "more than once",
		"ns=":                                 "malformed namespace",
		"ns=a/b":                              "malformed namespace",
		"ns=me:hunter2@a":                     "malformed namespace",
		"base=":                               "malformed base path",
		"base=v2":                             "malformed base path",
		"base=/a/../b":                        "malformed base path",
		"base=/a/":                            "malformed base path",
		"base=//a":                            "malformed base path",
		"base=/a/%252e%252E/b":                "malformed base path",
		"base=/a%255c..%255cb":                "malformed base path",
		"base=/a%3Fb":                         "malformed base path",
		"base=/a%23b":                         "malformed base path",
		"base=/" + strings.Repeat("a", 1<<10): "at most 1024 bytes",
		"plain-http=yes":                      "neither allowed nor only",
		"insecure=false":                      "is not true",
		"ns=%zz":                              "malformed query",
	} {
		err := c.Check("docker://m.example/a?" + query)
		checkKind(t, err, transport.ErrPermanent, text)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error shows the password: %v", err)
		}
	}
}

// TestEveryRequestCarriesTheNamespace: as containerd's docs/hosts.md says, and
// below the path it is to be asked at.
func TestEveryRequestCarriesTheNamespace(t *testing.T) {
	body := `{"mediaType":"application/vnd.oci.image.index.v1+json"}`
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "manifests") {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_, _ = io.WriteString(w, body)
			return
		}
		serveHello(w, r)
	})
	c := fakeClient(t, registry.Options{})
	uri := registry.Place{Host: f.host, NS: "docker.io", Base: "/us/v2"}.URI("team/app")
	if _, err := read(c, transport.Route{URI: uri}, hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Size(context.Background(), transport.Route{URI: uri}, hello); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.GetAt(context.Background(), uri, "v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.HeadAt(context.Background(), uri, "v1"); err != nil {
		t.Fatal(err)
	}
	blob := strings.Replace(helloPath, "/v2/", "/us/v2/", 1) + "?ns=docker.io"
	f.check(t, "the mirror", "GET "+blob, "HEAD "+blob, "GET /us/v2/team/app/manifests/v1?ns=docker.io",
		"HEAD /us/v2/team/app/manifests/v1?ns=docker.io", "GET /us/v2/team/app/manifests/v1?ns=docker.io")
	uri = registry.Place{Host: f.host, Base: "/"}.URI("team/app")
	if _, err := read(c, transport.Route{URI: uri}, hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	f.check(t, "the mirror", "GET "+strings.TrimPrefix(helloPath, "/v2"))
	for _, bad := range []string{"docker://m.example/a?x=y", "https://m.example/a"} {
		if _, _, err := c.GetAt(context.Background(), bad, "v1"); err == nil {
			t.Errorf("GetAt(%s) is no error", bad)
		}
		if _, err := c.HeadAt(context.Background(), bad, "v1"); err == nil {
			t.Errorf("HeadAt(%s) is no error", bad)
		}
	}
}

// TestAMirrorGetsItsOwnCredentials: not those of the registry whose images it is
// asked for, and none that was obtained where certificates are verified is sent
// where they aren't.
func TestAMirrorGetsItsOwnCredentials(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			challenge(w, `Basic realm="m"`)
			return
		}
		serveHello(w, r)
	})
	at := func(p registry.Place) transport.Route {
		p.Host = f.host
		return transport.Route{URI: p.URI("team/app")}
	}
	c := fakeClient(t, registry.Options{Credentials: one{host: "docker.io", Credential: credentials.Credential{Username: "ann", Password: "s3cret"}}})
	_, err := read(c, at(registry.Place{NS: "docker.io"}), hello, 0, 5)
	checkKind(t, err, transport.ErrUnauthorized, "401")
	f.check(t, "the mirror", "GET "+helloPath+"?ns=docker.io")

	const basic = " Basic YW5uOnMzY3JldA=="
	c = fakeClient(t, registry.Options{Credentials: one{host: f.host, Credential: credentials.Credential{Username: "ann", Password: "s3cret"}}})
	for range 2 {
		if _, err := read(c, at(registry.Place{}), hello, 0, 5); err != nil {
			t.Fatal(err)
		}
	}
	f.check(t, "the mirror", "GET "+helloPath, "GET "+helloPath+basic, "GET "+helloPath+basic)
	// Another place begins anew.
	if _, err := read(c, at(registry.Place{Insecure: true}), hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	f.check(t, "the mirror", "GET "+helloPath, "GET "+helloPath+basic)
}

func TestPlainHTTPOfAPlace(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { serveHello(w, r) })
	c := fakeClient(t, registry.Options{PlainHTTP: func(string) bool { return false }})
	at := func(p registry.PlainHTTP) transport.Route {
		return transport.Route{URI: registry.Place{Host: f.host, PlainHTTP: p}.URI("team/app")}
	}
	for _, p := range []registry.PlainHTTP{registry.Only, registry.Allowed, registry.Allowed} {
		if _, err := read(c, at(p), hello, 0, 5); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
	f.check(t, "the mirror", "GET "+helloPath, "GET "+helloPath, "GET "+helloPath)
	// What is allowed at one place is not at another.
	_, err := read(c, at(""), hello, 0, 5)
	checkKind(t, err, transport.ErrPermanent, "TLS handshake")
	f.check(t, "the mirror")
}

// TestClientOfAPlace: a mirror whose certificate another authority signed, or
// needn't be verified, is asked by a client of its own, the token service too.
func TestClientOfAPlace(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	img := newImage(t, testimage.Random(7, 100_000))
	r := startRegistry(t, realserver.RegistryOptions{CA: ca, User: "ann", Password: "s3cret"})
	config := dockerConfig(t, login(r.Host, "ann", "s3cret"))
	push(t, img, r.Host, config)
	certs := t.TempDir()
	link(t, ca.File, certs, r.Host, "ca.crt")

	var mu sync.Mutex
	asked := map[registry.Place]int{}
	c := registry.New(registry.Options{
		HTTP:        httpclient.New(httpclient.Options{CertDirs: []string{}}),
		Credentials: credentials.New(credentials.Options{Files: []string{config}}),
		HTTPFor: func(p registry.Place) *httpclient.Client {
			mu.Lock()
			defer mu.Unlock()
			asked[p]++
			switch {
			case p.Insecure:
				return httpclient.New(httpclient.Options{CertDirs: []string{}, Insecure: func(host string) bool { return host == p.Host }})
			case p.NS != "":
				return httpclient.New(httpclient.Options{CertDirs: []string{filepath.Clean(certs)}})
			}
			return nil
		},
	})
	t.Cleanup(func() { c.Close() })
	for _, p := range []registry.Place{{Host: r.Host, Insecure: true}, {Host: r.Host, NS: "docker.io"}} {
		for range 2 {
			got, err := read(c, transport.Route{URI: p.URI("team/app")}, img.layer, 0, img.layer.Size)
			if err != nil || string(got) != string(img.content) {
				t.Errorf("%s: %v", p.URI("team/app"), err)
			}
		}
		if asked[p] != 1 {
			t.Errorf("%+v: asked for %d clients, want 1", p, asked[p])
		}
	}
	_, err = read(c, route(r.Host, "team/app"), img.layer, 0, 10)
	checkKind(t, err, transport.ErrPermanent, "certificate")
}
