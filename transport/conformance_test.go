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
