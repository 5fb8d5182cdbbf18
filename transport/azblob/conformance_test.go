package azblob_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/azblob"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// TestConformance runs the suite against Azurite, with the account's key.
func TestConformance(t *testing.T) {
	transporttest.Run(t, newHarness)
}

// place is where the tests keep their blobs.
const place = "azblob://" + realserver.AzuriteAccount + "/images/app"

func newHarness(t *testing.T) transporttest.Harness {
	server := startAzurite(t, realserver.AzuriteOptions{})
	createContainer(t, server, "images", false)
	put := func(t testing.TB, b transporttest.Blob, coding string) transport.Route {
		putBlob(t, server, "app/blobs/sha256/"+b.Digest.Encoded(), b, b.Size, coding)
		return transport.Route{URI: place}
	}
	return transporttest.Harness{
		Transport: newTransport(t, azblob.Options{Getenv: environment(map[string]string{
			"AZURE_STORAGE_CONNECTION_STRING": server.ConnectionString(),
		})}),
		Put: func(t testing.TB, b transporttest.Blob) transport.Route { return put(t, b, "") },
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied: func(t testing.TB, b transporttest.Blob) transport.Route {
				return transport.Route{URI: put(t, b, "").URI + "?anonymous=true"}
			},
			transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route { return put(t, b, "gzip") },
			// Azurite neither fails nor is ever too busy.
			transporttest.Throttled: faulty(faultserver.Fault{Status: 503, RetryAfter: 7 * time.Second}),
			transporttest.Temporary: faulty(faultserver.Fault{Status: 500}),
			transporttest.ShortBody: faulty(faultserver.Fault{Body: faultserver.BodyShort, After: 100_000}),
		},
		RetryAfter: 7 * time.Second,
		Stop:       func(testing.TB) { server.Stop() },
		Start:      func(t testing.TB) { must(t, server.Start(context.Background())) },
		Pause:      func(t testing.TB) { must(t, server.Pause()) },
		Resume:     func(t testing.TB) { must(t, server.Resume()) },
	}
}

func startAzurite(t *testing.T, o realserver.AzuriteOptions) *realserver.Azurite {
	t.Helper()
	server, err := realserver.StartAzurite(context.Background(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	// What it hasn't written down yet isn't wanted any more.
	t.Cleanup(func() { server.Process.Stop() })
	return server
}

func newTransport(t *testing.T, o azblob.Options) *azblob.Transport {
	t.Helper()
	if o.HTTP == nil {
		o.HTTP = httpclient.New(httpclient.Options{CertDirs: []string{}})
	}
	if o.Token == nil {
		o.Token = nobody
	}
	tr := azblob.New(o)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// nobody is who has no identity.
func nobody(context.Context) (string, error) { return "", nil }

// environment returns a Getenv that knows the variables given and no others.
func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func createContainer(t testing.TB, server *realserver.Azurite, name string, public bool) {
	t.Helper()
	if err := server.CreateContainer(context.Background(), name, public); err != nil {
		t.Fatal(err)
	}
}

// putBlob makes a blob in the container images.
func putBlob(t testing.TB, server *realserver.Azurite, name string, content io.ReaderAt, size int64, coding string) {
	t.Helper()
	if err := server.Put(context.Background(), "images", name, content, size, coding); err != nil {
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
		return transport.Route{URI: place + "?anonymous=true&endpoint=" + server.URL()}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
