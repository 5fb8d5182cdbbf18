package tree_test

import (
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/local/localtest"
	"github.com/waybill-project/waybill/transport/tree"
)

// TestConformance reads from a bare tree, and from an OCI layout as one.
func TestConformance(t *testing.T) {
	for name, below := range map[string]string{"tree": "", "layout": "blobs"} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				dir := t.TempDir()
				return localtest.Harness(tree.Transport{}, func(t testing.TB, b transporttest.Blob) (transport.Route, string) {
					return transport.Route{URI: tree.URI(dir)}, localtest.PutFile(t, filepath.Join(dir, below), b)
				})
			})
		})
	}
}

func TestCheck(t *testing.T) {
	for uri, ok := range map[string]bool{
		"file:///srv/blobs":            true,
		"file://localhost/srv":         true,
		"file:///nowhere/to/be/found":  true,
		"file:relative":                false,
		"file://other/srv":             false,
		"file:///srv?x":                false,
		"https://example.org/":         false,
		"file:///srv/%zz":              false,
		"file://ann:s3cret@localhost/": false,
	} {
		if err := (tree.Transport{}).Check(uri); (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
