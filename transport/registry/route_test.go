package registry_test

import (
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
	"github.com/waybill-project/waybill/transport/registry"
)

// A tag that somebody else's document speaks of is asked for as blobs are:
// nowhere but in the public network, without credentials.
func TestGetRoute(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	for _, host := range netclasstest.Hosts(t, trap.Port) {
		t.Run(host.Name, func(t *testing.T) {
			c := fakeClient(t, registry.Options{PlainHTTP: func(string) bool { return true }})
			_, _, err := c.GetRoute(t.Context(), named("docker://"+host.Host+"/team/app"), "1.0")
			checkKind(t, err, transport.ErrRefused, "a public network may not send us there")
		})
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}

	tokens := issuer(t, object{"token": "t1"})
	r := newBearer(t, tokens.URL)
	r.want("t1")
	trusted := func(host string) bool { return host == r.host || "http://"+host == tokens.URL }
	h := httpclient.New(httpclient.Options{CertDirs: []string{}, Trusted: trusted})
	t.Cleanup(h.CloseIdleConnections)
	c := fakeClient(t, registry.Options{HTTP: h, Credentials: ann(r.host)})
	if _, _, err := c.GetRoute(t.Context(), named("docker://"+r.host+"/team/app"), "1.0"); err == nil {
		t.Error("the fake has no manifests, and yet there was one")
	}
	tokens.check(t, "the token service", "GET /?client_id=waybill&scope=repository%3Ateam%2Fapp%3Apull&service=svc")
	_, _, err := c.GetRoute(t.Context(), transport.Route{URI: "docker://" + r.host + "/team/app?ns=x", Remote: transport.RemotePublic}, "1.0")
	checkKind(t, err, transport.ErrRefused, "isn't for others to say")
}
