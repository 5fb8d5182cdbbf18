// Package localtest helps to test the transports of local files: it runs the
// tools that make layouts and archives, and reads what they made through a
// transport, checking every byte.
package localtest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/transport"
)

// Run runs one of the tools that tests need and returns its output. Each is in
// the apt package of its name.
func Run(t testing.TB, tool string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Fatalf("%s is needed: apt install %s", tool, tool)
	}
	cmd := exec.Command(tool, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", tool, args, err, stderr.Bytes())
	}
	return out
}

// Storage returns the flags that make buildah and podman keep everything in a
// directory of the test's own.
func Storage(t testing.TB) []string {
	t.Helper()
	dir := t.TempDir()
	return []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
}

// Buildah commits an image of two layers to destination, in the notation of
// containers-transports(5). Equal seeds make equal content.
func Buildah(t testing.TB, destination string, seed uint64) {
	t.Helper()
	dir, storage := t.TempDir(), Storage(t)
	run := func(args ...string) string {
		return string(bytes.TrimSpace(Run(t, "buildah", append(append([]string{}, storage...), args...)...)))
	}
	first, second := filepath.Join(dir, "1.tar"), filepath.Join(dir, "2.tar")
	Tar(t, first, File{Name: "bin/program", Content: Noise(seed, 300_000)}, File{Name: "etc/motd", Content: []byte("one\n")})
	Tar(t, second, File{Name: "etc/motd", Content: []byte("two\n")})
	ctr := run("from", "scratch")
	run("add", ctr, first, "/")
	run("config", "--cmd", "/bin/program", "--label", "name=value", ctr)
	run("commit", ctr, "localhost/base")
	ctr = run("from", "localhost/base")
	run("add", ctr, second, "/")
	run("commit", ctr, destination)
}

// File is a member of a tar.
type File struct {
	Name    string
	Content []byte
	Header  *tar.Header // for what is no plain file; Name is filled in
}

// Tar writes a tar to path.
func Tar(t testing.TB, path string, files ...File) {
	t.Helper()
	if err := os.WriteFile(path, TarBytes(t, files...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TarBytes returns a tar.
func TarBytes(t testing.TB, files ...File) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, f := range files {
		hdr := &tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}
		if f.Header != nil {
			hdr = f.Header
		}
		hdr.Name, hdr.Size = f.Name, int64(len(f.Content))
		if err := tw.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(f.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Noise returns n bytes that don't compress, the same for the same seed.
func Noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

// ReadAll opens a range and reads it to the end.
func ReadAll(ctx context.Context, tr transport.Transport, route transport.Route, desc ocispec.Descriptor, offset, length int64) ([]byte, error) {
	r, err := tr.Open(ctx, route, desc, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// CheckImage reads every blob below root at route, whole and in pieces, checks
// them against their digests, and returns what roles they had.
func CheckImage(t testing.TB, tr transport.Transport, route transport.Route, root ocispec.Descriptor) []image.Role {
	t.Helper()
	fetch := func(ctx context.Context, n image.Node) (image.Content, error) {
		b, err := ReadAll(ctx, tr, route, n.Descriptor, 0, n.Descriptor.Size)
		return image.Bytes(b), err
	}
	var roles []image.Role
	for n, err := range image.Walk(t.Context(), root, fetch, image.WalkOptions{Platform: image.AllPlatforms()}) {
		if err != nil {
			t.Fatal(err)
		}
		roles = append(roles, n.Role)
		if err := checkBlob(t, tr, route, n.Descriptor); err != nil {
			t.Errorf("%s %s: %v", n.Role, n.Descriptor.Digest, err)
		}
	}
	return roles
}

func checkBlob(t testing.TB, tr transport.Transport, route transport.Route, desc ocispec.Descriptor) error {
	whole, err := ReadAll(t.Context(), tr, route, desc, 0, desc.Size)
	if err != nil {
		return err
	}
	got, err := blobdigest.FromBytes(desc.Digest.Algorithm(), whole)
	if err != nil || got != desc.Digest {
		return fmt.Errorf("the content has digest %s, %v", got, err)
	}
	unknown := ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: -1}
	if all, err := ReadAll(t.Context(), tr, route, unknown, 0, -1); err != nil || !bytes.Equal(all, whole) {
		return fmt.Errorf("to the end: %d bytes of %d, %v", len(all), len(whole), err)
	}
	if sizer, ok := tr.(transport.Sizer); ok {
		if size, err := sizer.Size(t.Context(), route, desc); err != nil || size != desc.Size {
			return fmt.Errorf("size %d, want %d, %v", size, desc.Size, err)
		}
	}
	for i := range int64(5) {
		offset := desc.Size * i / 5
		length := min(desc.Size-offset, 1+desc.Size/3)
		part, err := ReadAll(t.Context(), tr, route, desc, offset, length)
		if err != nil || !bytes.Equal(part, whole[offset:offset+length]) {
			return fmt.Errorf("%d bytes from %d: other bytes, %v", length, offset, err)
		}
	}
	return nil
}

// SkopeoDigest returns the digest of the manifest that skopeo finds under a
// name in the notation of containers-transports(5).
func SkopeoDigest(t testing.TB, name string) digest.Digest {
	t.Helper()
	return digest.FromBytes(Run(t, "skopeo", "inspect", "--raw", name))
}
