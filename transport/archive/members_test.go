package archive

import (
	"archive/tar"
	"bytes"
	"testing"
)

// Whatever a tar holds, each member that is found lies within it.
func FuzzIndexTar(f *testing.F) {
	for _, hdr := range []*tar.Header{
		{Name: "a", Typeflag: tar.TypeReg, Size: 3},
		{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "../b"},
		{Name: "./b/../a", Typeflag: tar.TypeLink, Linkname: "a"},
		{Name: "pax", Typeflag: tar.TypeReg, Size: 3, PAXRecords: map[string]string{"X.y": "z"}},
	} {
		var buf bytes.Buffer
		tw := tar.NewWriter(&buf)
		if err := tw.WriteHeader(hdr); err != nil {
			f.Fatal(err)
		}
		if _, err := tw.Write(make([]byte, hdr.Size)); err != nil {
			f.Fatal(err)
		}
		if err := tw.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		ms, err := indexTar(t.Context(), bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return
		}
		for name := range ms {
			e, err := ms.find(name)
			if err == nil && (e.offset < 0 || e.size < 0 || e.offset+e.size > int64(len(content))) {
				t.Errorf("%q lies at %d, %d bytes long, in %d", name, e.offset, e.size, len(content))
			}
		}
	})
}
