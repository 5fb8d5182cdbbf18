package tree_test

import (
	"bytes"
	"errors"
	"io"
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

// TestFile: a file is one blob, and not there for those of another size.
func TestFile(t *testing.T) {
	b := transporttest.NewBlob(3, 5000)
	file := filepath.Join(t.TempDir(), "some %41 file")
	b.WriteFile(t, file)
	route := transport.Route{URI: tree.URI(file)}
	r, err := tree.Transport{}.Open(t.Context(), route, b.Descriptor(), 1000, 500)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b.Bytes()[1000:1500]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	unknown := b.Descriptor()
	unknown.Size = -1
	if n, err := (tree.Transport{}).Size(t.Context(), route, unknown); n != b.Size || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	other := transporttest.NewBlob(4, 5001).Descriptor()
	if _, err := (tree.Transport{}).Open(t.Context(), route, other, 0, other.Size); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("another blob: %v", err)
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
