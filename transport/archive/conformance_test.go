package archive_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/archive"
	"github.com/waybill-project/waybill/transport/local/localtest"
)

// TestConformance reads each blob from an archive of its own.
func TestConformance(t *testing.T) {
	for label, a := range map[string]struct {
		kind    name.Kind
		write   func(t testing.TB, path string, b transporttest.Blob)
		maxSize int64
	}{
		"oci-archive": {name.OCIArchive, writeOCI, 0},
		// These are read to their end before the first byte is there.
		"oci-archive of gzip": {name.OCIArchive, writeGzip, 64 << 20},
		"docker-archive":      {name.DockerArchive, writeDocker, 64 << 20},
	} {
		t.Run(label, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				dir := t.TempDir()
				h := localtest.Harness(&archive.Transport{TempDir: t.TempDir()}, func(t testing.TB, b transporttest.Blob) (transport.Route, string) {
					path := filepath.Join(dir, b.Digest.Encoded()+".tar")
					a.write(t, path, b)
					return transport.Route{URI: name.Name{Kind: a.kind, Path: path}.String()}, path
				})
				h.MaxSize = a.maxSize
				return h
			})
		})
	}
}

// writeOCI writes an oci-archive that holds b, sparse where b is zeros.
func writeOCI(t testing.TB, path string, b transporttest.Blob) {
	writeTar(t, path, blobPath(b.Digest), b, "oci-layout", []byte(marker))
}

// writeDocker writes a docker-archive of an image that has b as a layer.
func writeDocker(t testing.TB, path string, b transporttest.Blob) {
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + b.Digest.String() + `"]}}`)
	writeTar(t, path, "layer.tar", b, "config.json", config, "manifest.json", manifest)
}

// writeGzip writes an oci-archive that is compressed as a whole.
func writeGzip(t testing.TB, path string, b transporttest.Blob) {
	writeOCI(t, path+".plain", b)
	in, err := os.Open(path + ".plain")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	zw, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(zw, in); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeTar writes a tar of b as the member called member, after others: pairs
// of a name and its content.
func writeTar(t testing.TB, path, member string, b transporttest.Blob, others ...any) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tw := tar.NewWriter(f)
	for i := 0; i < len(others); i += 2 {
		content := others[i+1].([]byte)
		if err := tw.WriteHeader(&tar.Header{Name: others[i].(string), Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.WriteHeader(&tar.Header{Name: member, Mode: 0o644, Size: b.Size}); err != nil {
		t.Fatal(err)
	}
	start, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		t.Fatal(err)
	}
	b.WriteInto(t, f, start)
	// Blocks of 512 bytes, and two of zeros at the end.
	if err := f.Truncate(start + (b.Size+511)/512*512 + 1024); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	for uri, ok := range map[string]bool{
		"oci-archive:/srv/image.tar":    true,
		"docker-archive:/srv/image.tar": true,
		"docker-archive:":               false,
		"oci:/srv/image":                false,
		"file:///srv/image.tar":         false,
	} {
		if err := (&archive.Transport{}).Check(uri); (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// After Close, archives are read as if for the first time.
func TestUseAfterClose(t *testing.T) {
	b := transporttest.NewBlob(1, 1000)
	path := filepath.Join(t.TempDir(), "image.tar.gz")
	writeGzip(t, path, b)
	tr := &archive.Transport{TempDir: t.TempDir()}
	route := transport.Route{URI: name.Name{Kind: name.OCIArchive, Path: path}.String()}
	for range 2 {
		content, err := localtest.ReadAll(t.Context(), tr, route, b.Descriptor(), 0, b.Size)
		if err != nil || string(content) != string(b.Bytes()) {
			t.Errorf("read %d bytes, %v", len(content), err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}
