package pull_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/store"
)

// TestGCReadsTheLargestDocument: what the largest index there may be leads to is kept.
func TestGCReadsTheLargestDocument(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	blob := []byte("kept")
	index := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":"application/octet-stream","digest":"%s","size":%d}]}`, digest.FromBytes(blob), len(blob))
	index = append(index, bytes.Repeat([]byte(" "), image.MaxDocument-len(index))...)
	root := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(index), Size: int64(len(index))}
	for _, b := range [][]byte{blob, index} {
		if err := st.Put(digest.FromBytes(b), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.PutRef(store.Ref{Name: "x", Descriptor: root, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.GC(t.Context(), store.GCOptions{Children: image.Children}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Stat(digest.FromBytes(blob)); err != nil {
		t.Error(err)
	}
}
