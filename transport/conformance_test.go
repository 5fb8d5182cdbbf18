package transport_test

import (
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/data"
	"github.com/waybill-project/waybill/transport/local/localtest"
	"github.com/waybill-project/waybill/transport/tree"
)

// TestSchemesConformance shows that a transport that keeps the contract keeps
// it behind Schemes. That one with a server does is shown in transport/https.
func TestSchemesConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		dir := t.TempDir()
		schemes := transport.Schemes{"file": tree.Transport{}, "data": data.Transport{}}
		return localtest.Harness(schemes, func(t testing.TB, b transporttest.Blob) (transport.Route, string) {
			return transport.Route{URI: tree.URI(dir)}, localtest.PutFile(t, dir, b)
		})
	})
}

// TestByOriginConformance shows the same for ByOrigin, for places of either
// origin.
func TestByOriginConformance(t *testing.T) {
	schemes := transport.Schemes{"file": tree.Transport{}}
	for name, b := range map[string]struct {
		transport transport.ByOrigin
		remote    transport.Remote
	}{
		"local":  {transport.ByOrigin{Local: schemes}, 0},
		"remote": {transport.ByOrigin{Local: schemes, Remote: schemes}, transport.RemotePublic},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				dir := t.TempDir()
				return localtest.Harness(b.transport, func(t testing.TB, blob transporttest.Blob) (transport.Route, string) {
					return transport.Route{URI: tree.URI(dir), Remote: b.remote}, localtest.PutFile(t, dir, blob)
				})
			})
		})
	}
}
