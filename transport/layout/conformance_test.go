package layout_test

import (
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local/localtest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		dir := t.TempDir()
		return localtest.Harness(layout.Transport{}, func(t testing.TB, b transporttest.Blob) (transport.Route, string) {
			return transport.Route{URI: layout.URI(dir)}, localtest.PutFile(t, filepath.Join(dir, "blobs"), b)
		})
	})
}

func TestCheck(t *testing.T) {
	for uri, ok := range map[string]bool{
		"oci:/srv/image":        true,
		"oci:relative":          true,
		"oci:":                  false,
		"oci-archive:/srv/file": false,
		"file:///srv/image":     false,
	} {
		if err := (layout.Transport{}).Check(uri); (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
