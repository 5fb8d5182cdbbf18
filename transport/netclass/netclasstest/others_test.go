package netclasstest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ftp"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
	"github.com/waybill-project/waybill/transport/registry"
)

var blob = ocispec.Descriptor{MediaType: "application/x", Digest: digest.FromString("x"), Size: 1}

// forOthers are the transports by which places that others name are read, trusted
// hosts wherever they are.
func forOthers(t *testing.T, trusted func(string) bool) transport.ByOrigin {
	t.Helper()
	client := httpclient.New(httpclient.Options{CertDirs: []string{}, Trusted: trusted})
	web := https.New(client)
	remote := transport.Schemes{
		"https": web, "http": web,
		"docker": registry.New(registry.Options{HTTP: client, PlainHTTP: func(string) bool { return true }}),
		"ftp":    ftp.New(ftp.Options{Public: true, Trusted: trusted}),
	}
	t.Cleanup(func() {
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	})
	return transport.ByOrigin{Remote: remote}
}

// places are the URIs by which a host may be named.
func places(host string) []string {
	return []string{
		"http://" + host + "/blob", "https://" + host + "/blob", "docker://" + host + "/team/app",
		"ftp://" + host + "/blobs/", "ftp://" + host + "/blob;type=i",
	}
}

// Whatever the scheme, nobody else sends us to a narrow network, and none is
// connected to.
func TestNobodyElseSendsUsInside(t *testing.T) {
	trap := netclasstest.NewTrap(t)
	others := forOthers(t, nil)
	for _, host := range netclasstest.Hosts(t, trap.Port) {
		for _, uri := range places(host.Host) {
			t.Run(fmt.Sprintf("%s, %s", host.Name, uri), func(t *testing.T) {
				route := transport.Route{URI: uri, Origin: "https://doc.example/", Remote: transport.RemotePublic}
				var refused *netclass.RefusedError
				if _, err := others.Open(t.Context(), route, blob, 0, 1); !errors.Is(err, transport.ErrRefused) || !errors.As(err, &refused) {
					t.Errorf("open: %v", err)
				}
				if _, err := others.Size(t.Context(), route, blob); !errors.Is(err, transport.ErrRefused) || !errors.As(err, &refused) {
					t.Errorf("size: %v", err)
				}
			})
		}
	}
	if n := trap.Came(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// What local configuration trusts is connected to, whoever names it.
func TestTrustedHosts(t *testing.T) {
	for i, uri := range places("HOST") {
		t.Run(uri, func(t *testing.T) {
			trap := netclasstest.NewTrap(t)
			others := forOthers(t, func(host string) bool { return host == trap.Host })
			route := transport.Route{URI: places(trap.Host)[i], Origin: "https://doc.example/", Remote: transport.RemotePublic}
			// The trap hangs up, which is another failure.
			if _, err := others.Open(t.Context(), route, blob, 0, 1); err == nil || errors.Is(err, transport.ErrRefused) {
				t.Errorf("got %v", err)
			}
			if trap.Came() == 0 {
				t.Error("no connection was made")
			}
		})
	}
}
