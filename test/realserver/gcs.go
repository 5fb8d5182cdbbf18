package realserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// GCS is a running fake-gcs-server, the emulator of Google Cloud Storage that
// is used in its place. It knows no credentials: whoever asks may read.
type GCS struct {
	*Process
	// URL is its base, without a slash at the end: the endpoint of the XML API.
	URL string

	dir, addr string
}

// StartGCS starts a fake-gcs-server that keeps its buckets and log in dir.
func StartGCS(ctx context.Context, dir string) (*GCS, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	g := &GCS{URL: "http://" + addr, dir: dir, addr: addr}
	if err := os.MkdirAll(g.buckets(), 0o755); err != nil {
		return nil, fmt.Errorf("buckets of fake-gcs-server: %w", err)
	}
	return g, g.Start(ctx)
}

func (g *GCS) buckets() string { return filepath.Join(g.dir, "buckets") }

// Start starts it again after Stop, at the same address with the same content.
func (g *GCS) Start(ctx context.Context) error {
	host, port, err := net.SplitHostPort(g.addr)
	if err != nil {
		return err
	}
	g.Process, err = start(ctx, g.dir, dialable("tcp", g.addr), "fake-gcs-server",
		"-scheme", "http", "-host", host, "-port", port,
		// By this name it tells the XML API from a bucket's own host.
		"-public-host", g.addr, "-external-url", g.URL,
		"-backend", "filesystem", "-filesystem-root", g.buckets(), "-log-level", "warn")
	return err
}

// Put makes an object of what write puts into the file at the path it is given.
// The file may be sparse, so that a large object costs no time. metadata is the
// object's as JSON, in the emulator's words, such as
// {"ContentEncoding":"gzip"}; "" means none.
func (g *GCS) Put(bucket, key, metadata string, write func(path string)) error {
	path := filepath.Join(g.buckets(), bucket, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("bucket of fake-gcs-server: %w", err)
	}
	write(path)
	if metadata == "" {
		metadata = "{}"
	}
	// Where the file system has extended attributes, the metadata are in one.
	err := unix.Setxattr(path, "user.metadata", []byte(metadata), 0)
	if err == unix.ENOTSUP {
		err = os.WriteFile(path+".metadata", []byte(metadata), 0o600)
	}
	if err != nil {
		return fmt.Errorf("metadata of gs://%s/%s: %w", bucket, key, err)
	}
	return nil
}
