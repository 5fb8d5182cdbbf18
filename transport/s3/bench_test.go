package s3_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
)

// BenchmarkRead copies 1 GiB from a versitygw on this machine into a file in
// memory: with this transport as one range and as several at once, with
// Amazon's own client, and with curl, which knows nothing of S3 and is given a
// presigned URL.
func BenchmarkRead(b *testing.B) {
	const size = 1 << 30
	isolate(b)
	server := start(b, realserver.S3Options{})
	login(b, server)
	desc := ocispec.Descriptor{Digest: digest.FromString("zeros"), Size: size}
	key := "sha256/" + desc.Digest.Encoded()
	object := filepath.Join(server.Root, bucket, key)
	write(b, object, "")
	if err := os.Truncate(object, size); err != nil {
		b.Fatal(err)
	}
	dir, err := os.MkdirTemp("/dev/shm", "waybill-s3-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	out := filepath.Join(dir, "out")
	route := transport.Route{URI: "s3://" + bucket + "?endpoint=" + server.URL}

	for _, ranges := range []int64{1, 2, 4, 16} {
		b.Run(fmt.Sprintf("ranges=%d", ranges), func(b *testing.B) {
			tr := newTransport(b)
			b.SetBytes(size)
			for b.Loop() {
				if err := fetch(b, tr, route, desc, ranges, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	tool(b, "aws", size, "aws", "--endpoint-url", server.URL, "--region", server.Region,
		"s3", "cp", "--only-show-errors", "s3://"+bucket+"/"+key, out)
	presigned, err := server.Presign(b.Context(), bucket, key)
	if err != nil {
		b.Fatal(err)
	}
	tool(b, "curl", size, "curl", "-sSf", "-o", out, presigned)
}

// fetch copies a blob into a new file, as so many ranges at once.
func fetch(b *testing.B, tr transport.Transport, route transport.Route, desc ocispec.Descriptor, ranges int64, out string) error {
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer file.Close()
	var group errgroup.Group
	for i := range ranges {
		group.Go(func() error {
			offset, length := desc.Size/ranges*i, desc.Size/ranges
			r, err := tr.Open(b.Context(), route, desc, offset, length)
			if err != nil {
				return err
			}
			defer r.Close()
			// Neither end may take a short cut the engine can't.
			_, err = io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(file, offset)}, r, make([]byte, 256<<10))
			return err
		})
	}
	return group.Wait()
}

// tool measures a program that reads size bytes.
func tool(b *testing.B, name string, size int64, program string, args ...string) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if out, err := exec.CommandContext(b.Context(), program, args...).CombinedOutput(); err != nil {
				b.Fatalf("%s (install it: scripts/install-test-tools bench): %v\n%s", program, err, out)
			}
		}
	})
}
