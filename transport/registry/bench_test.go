package registry_test

import (
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// BenchmarkOpen reads a blob of 1 GiB from a docker-registry on the loopback
// interface into a buffer of 1 MiB, and beside it the same by net/http alone:
// what the server can do. cpu-s/op is this process's alone.
func BenchmarkOpen(b *testing.B) {
	const size = 1 << 30
	img := newImage(b, testimage.Random(1, size))
	r := startRegistry(b, realserver.RegistryOptions{})
	config := dockerConfig(b, "{}")
	push(b, img, r.Host, config)
	c := newClient(b, config, b.TempDir())
	layer := img.layer
	buf := make([]byte, 1<<20)

	b.Run("client", func(b *testing.B) {
		measure(b, layer, func() error {
			body, err := c.Open(context.Background(), route(r.Host, "team/app"), layer, 0, layer.Size)
			if err != nil {
				return err
			}
			defer body.Close()
			return readAll(body, buf)
		})
	})
	b.Run("net-http", func(b *testing.B) {
		url := r.URL + "/v2/team/app/blobs/" + layer.Digest.String()
		measure(b, layer, func() error {
			resp, err := http.Get(url)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return readAll(resp.Body, buf)
		})
	})
}

// readAll reads r to its end into buf, over and over.
func readAll(r io.Reader, buf []byte) error {
	for {
		if _, err := r.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// measure runs read and reports rate and CPU time.
func measure(b *testing.B, desc ocispec.Descriptor, read func() error) {
	b.SetBytes(desc.Size)
	before := cpuTime(b)
	for b.Loop() {
		if err := read(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
}

// cpuTime returns the CPU time this process has taken.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
