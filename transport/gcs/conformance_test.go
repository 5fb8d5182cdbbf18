package gcs_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/gcs"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// TestConformance runs the suite against fake-gcs-server, which knows no
// credentials and doesn't fail: those answers come from a server of ours.
func TestConformance(t *testing.T) {
	transporttest.Run(t, newHarness)
}

func newHarness(t *testing.T) transporttest.Harness {
	server := startGCS(t)
	put := func(t testing.TB, b transporttest.Blob) transport.Route {
		putObject(t, server, "images/app/blobs/sha256/"+b.Digest.Encoded(), "", func(path string) { b.WriteFile(t, path) })
		return transport.Route{URI: "gs://waybill-test/images/app"}
	}
	return transporttest.Harness{
		Transport: newTransport(t, gcs.Options{Endpoint: server.URL, Token: nobody}),
		Put:       put,
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied:    faulty(faultserver.Fault{Status: 403}),
			transporttest.Throttled: faulty(faultserver.Fault{Status: 429, RetryAfter: 7 * time.Second}),
			transporttest.Temporary: faulty(faultserver.Fault{Status: 503}),
			transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
				putObject(t, server, "zipped/sha256/"+b.Digest.Encoded(), `{"ContentEncoding":"gzip"}`, func(path string) {
					writeFile(t, path, compress(t, b.Bytes()))
				})
				return transport.Route{URI: "gs://waybill-test/zipped"}
			},
			transporttest.ShortBody: faulty(faultserver.Fault{Body: faultserver.BodyShort, After: 100_000}),
		},
		RetryAfter: 7 * time.Second,
		Stop:       func(testing.TB) { server.Stop() },
		Start:      func(t testing.TB) { must(t, server.Start(context.Background())) },
		Pause:      func(t testing.TB) { must(t, server.Pause()) },
		Resume:     func(t testing.TB) { must(t, server.Resume()) },
	}
}

func startGCS(t *testing.T) *realserver.GCS {
	t.Helper()
	server, err := realserver.StartGCS(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	return server
}

func newTransport(t *testing.T, o gcs.Options) *gcs.Transport {
	t.Helper()
	o.HTTP = httpclient.New(httpclient.Options{CertDirs: []string{}})
	tr := gcs.New(o)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// nobody is who has no credentials.
func nobody(context.Context) (string, error) { return "", nil }

func putObject(t testing.TB, server *realserver.GCS, key, metadata string, write func(path string)) {
	t.Helper()
	if err := server.Put("waybill-test", key, metadata, write); err != nil {
		t.Fatal(err)
	}
}

// faulty returns what lays a blob out at a server with a fault.
func faulty(fault faultserver.Fault) func(testing.TB, transporttest.Blob) transport.Route {
	return func(t testing.TB, b transporttest.Blob) transport.Route {
		server, err := faultserver.New(faultserver.Options{
			Blobs:  []faultserver.Blob{{Digest: b.Digest, Size: b.Size, Content: b}},
			Faults: []faultserver.Fault{fault},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return transport.Route{URI: "gs://waybill-test/images/app?anonymous=true&endpoint=" + server.URL()}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func compress(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
