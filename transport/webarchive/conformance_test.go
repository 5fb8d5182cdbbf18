package webarchive_test

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/conformance/transporttest/daemon"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/webarchive"
)

// locations are where nginx fails in a way of its own.
const locations = `
	location /denied/ { return 403; }
	location /throttled/ { return 429; add_header Retry-After 7 always; }
	location /gateway/ { proxy_pass http://127.0.0.1:1; }
	location /loop/ { return 302 $request_uri; }`

// TestConformance reads from archives on a real nginx.
func TestConformance(t *testing.T) {
	transporttest.Run(t, harness)
}

func harness(t *testing.T) transporttest.Harness {
	root, dir := t.TempDir(), t.TempDir()
	nginx, err := realserver.StartNginx(t.Context(), dir, root, realserver.NginxOptions{Config: locations})
	if err != nil {
		t.Fatal(err)
	}
	nginx.Stop() // it is its configuration that is wanted: it is run by somebody who can start it again
	server := daemon.Start(t, nginx.Host, "nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	faulty, err := faultserver.New(faultserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { faulty.Close() })

	at := func(url string) transport.Route { return transport.Route{URI: webarchive.Scheme + url} }
	put := func(path string) func(testing.TB, transporttest.Blob) transport.Route {
		return func(t testing.TB, b transporttest.Blob) transport.Route {
			name := b.Digest.Encoded() + ".tar"
			writeTar(t, filepath.Join(root, name), b)
			return at(nginx.URL + path + name)
		}
	}
	return transporttest.Harness{
		Transport: newTransport(),
		Put:       put("/"),
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied:    put("/denied/"),
			transporttest.Throttled: put("/throttled/"),
			transporttest.Temporary: put("/gateway/"),
			transporttest.Permanent: put("/loop/"),
			transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
				path := filepath.Join(t.(*testing.T).TempDir(), "a.tar")
				writeTar(t, path, b)
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				faulty.Add(faultserver.Blob{Digest: b.Digest, Content: faultserver.File(path), Size: info.Size()})
				faulty.SetBlobFaults(b.Digest, faultserver.Fault{Body: faultserver.BodyShort, After: 100_000})
				return at(faulty.BlobURL(b.Digest))
			},
		},
		RetryAfter: 7 * time.Second,
		Stop:       server.Stop, Start: server.Start,
		Pause: server.Pause, Resume: server.Resume,
		Stall: func(testing.TB) transport.Route {
			faulty.SetFaults(faultserver.Fault{StallHeaders: true})
			return at(faulty.URL() + "/mute")
		},
	}
}

func newTransport() *webarchive.Transport {
	return webarchive.New(https.New(httpclient.New(httpclient.Options{CertDirs: []string{}})))
}

// writeTar writes an archive that holds b, sparse where b is zeros.
func writeTar(t testing.TB, file string, b transporttest.Blob) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tw := tar.NewWriter(f)
	const marker = `{"imageLayoutVersion":"1.0.0"}`
	if err := tw.WriteHeader(&tar.Header{Name: "./oci-layout", Mode: 0o644, Size: int64(len(marker))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(tw, marker); err != nil {
		t.Fatal(err)
	}
	path, err := layout.BlobPath(b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := tw.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: b.Size}); err != nil {
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
