package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
	"github.com/waybill-project/waybill/transport/registry"
)

// named returns the route to a place that a document of somebody else's named.
func named(uri string) transport.Route {
	return transport.Route{URI: uri, Origin: "https://doc.example/x", Remote: transport.RemotePublic}
}

// ann is the user's login at a registry.
func ann(host string) one {
	return one{host: host, Credential: credentials.Credential{Username: "ann", Password: "s3cret"}}
}

// Nobody else may send us to a narrow network, not even where plain http is
// allowed there.
func TestRemoteRoutesKeepToTheInternet(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	for _, host := range netclasstest.Hosts(t, trap.Port) {
		t.Run(host.Name, func(t *testing.T) {
			c := fakeClient(t, registry.Options{PlainHTTP: func(string) bool { return true }})
			r := named("docker://" + host.Host + "/team/app")
			_, err := read(c, r, hello, 0, 5)
			checkKind(t, err, transport.ErrRefused, "a public network may not send us there")
			_, err = c.Size(t.Context(), r, hello)
			checkKind(t, err, transport.ErrRefused, "a public network may not send us there")
		})
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// A host that local configuration trusts may be named by anyone, and is sent no
// credentials all the same.
func TestRemoteRoutesToTrustedHosts(t *testing.T) {
	tokens := issuer(t, object{"token": "t1"})
	r := newBearer(t, tokens.URL)
	r.want("t1")
	other := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { serveHello(w, r) })
	trusted := func(host string) bool { return host == r.host || "http://"+host == tokens.URL }
	h := httpclient.New(httpclient.Options{CertDirs: []string{}, Trusted: trusted})
	t.Cleanup(h.CloseIdleConnections)
	c := fakeClient(t, registry.Options{HTTP: h, Credentials: ann(r.host)})
	got, err := read(c, named("docker://"+r.host+"/team/app"), hello, 0, 5)
	if err != nil || string(got) != "hello" {
		t.Fatalf("read %q, %v", got, err)
	}
	tokens.check(t, "the token service", "GET /?client_id=waybill&scope=repository%3Ateam%2Fapp%3Apull&service=svc")
	_, err = read(c, named("docker://"+other.host+"/team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrRefused, "loopback")
	other.check(t, "the registry that isn't trusted")
}

// What the user's own routes brought to light of a registry (that it speaks
// plain http, its tokens, where it redirects to) serves no route of others.
func TestRemoteRoutesShareNothing(t *testing.T) {
	storage := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { serveHello(w, r) })
	f := redirecting(t, func() string { return storage.URL + "/blob" })
	h := httpclient.New(httpclient.Options{CertDirs: []string{}, Trusted: func(host string) bool { return host == f.host }})
	t.Cleanup(h.CloseIdleConnections)
	c := fakeClient(t, registry.Options{HTTP: h, Credentials: ann(f.host)})
	if _, err := read(c, route(f.host, "team/app"), hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	f.take()
	storage.take()
	_, err := read(c, named("docker://"+f.host+"/team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrUnauthorized, "401")
	f.check(t, "the registry", "GET "+helloPath)
	storage.check(t, "storage")

	// And the other way round: the user's own goes on with credentials.
	if _, err := read(c, route(f.host, "team/app"), hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	storage.check(t, "storage", "GET /blob")
}

// Each network that may be named has its own memory, too.
func TestRemoteRoutesOfDifferentFloors(t *testing.T) {
	tokens := issuer(t, object{"token": "t1"})
	r := newBearer(t, tokens.URL)
	r.want("t1")
	c := fakeClient(t, registry.Options{})
	near := named("docker://" + r.host + "/team/app")
	near.Remote = transport.RemoteIn(netclass.Loopback)
	if _, err := read(c, near, hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	r.take()
	tokens.take()
	_, err := read(c, named(near.URI), hello, 0, 5)
	checkKind(t, err, transport.ErrRefused, "loopback")
	r.check(t, "the registry")
	tokens.check(t, "the token service")
}

// How a registry is asked is for the user to say.
func TestRemoteRoutesHaveNoQuery(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	c := fakeClient(t, registry.Options{})
	for _, query := range []string{"insecure=true", "base=/x", "plain-http=only", "ns=docker.io"} {
		r := named("docker://" + trap.Host + "/team/app?" + query)
		r.Remote = transport.RemoteIn(netclass.Loopback)
		_, err := read(c, r, hello, 0, 5)
		checkKind(t, err, transport.ErrRefused, "isn't for others to say")
	}
	_, err := read(c, named("docker://ann:pw@"+trap.Host+"/team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrPermanent, "malformed registry name")
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// A registry in the public network (it has a name that a proxy knows) may send
// neither blobs' readers nor token requests inside.
func TestRemoteRegistryThatSendsInside(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	for name, handler := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+trap.Host+"/blob", http.StatusFound)
		},
		"realm": func(w http.ResponseWriter, _ *http.Request) {
			challenge(w, fmt.Sprintf(`Bearer realm="http://%s/token",service="s"`, trap.Host))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			host := server.Listener.Addr().String()
			proxy, err := realserver.StartProxy("", map[string]string{"registry.example": host, "registry.example:443": host})
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Stop()
			h := httpclient.New(httpclient.Options{CertDirs: []string{}, Proxy: onlyFor("registry.example", proxy.URL)})
			defer h.CloseIdleConnections()
			c := fakeClient(t, registry.Options{HTTP: h, PlainHTTP: func(string) bool { return true }})
			body, err := c.Open(t.Context(), named("docker://registry.example/team/app"), hello, 0, 5)
			if err == nil {
				_, _ = io.Copy(io.Discard, body)
				body.Close()
			}
			checkKind(t, err, transport.ErrRefused, "a public network may not send us there")
		})
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// onlyFor has a proxy asked for one host.
func onlyFor(host, proxy string) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		if r.URL.Hostname() != host {
			return nil, nil
		}
		return url.Parse(proxy)
	}
}
