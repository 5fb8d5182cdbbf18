package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/local"
)

// closed counts how often it was closed.
type closed int

func (c *closed) Close() error {
	*c++
	return nil
}

func TestSection(t *testing.T) {
	content := "..0123456789.."
	tests := []struct {
		name                 string
		size, offset, length int64
		want                 string
		kind                 error
	}{
		{"whole", 10, 0, 10, "0123456789", nil},
		{"whole of unknown size", -1, 0, -1, "0123456789", nil},
		{"to the end", 10, 0, -1, "0123456789", nil},
		{"start", 10, 0, 3, "012", nil},
		{"middle", 10, 3, 4, "3456", nil},
		{"end", 10, 9, 1, "9", nil},
		{"nothing", 10, 10, 0, "", nil},
		{"beyond the end", 10, 9, 2, "", transport.ErrPermanent},
		{"after the end", 10, 11, 0, "", transport.ErrPermanent},
		{"negative offset", 10, -1, 1, "", transport.ErrPermanent},
		{"negative length", 10, 0, -2, "", transport.ErrPermanent},
		{"to the end from an offset", 10, 1, -1, "", transport.ErrPermanent},
		{"overflow", 10, 5, 1<<63 - 1, "", transport.ErrPermanent},
		{"other size", 11, 0, 1, "", transport.ErrPermanent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c closed
			b := local.Blob{URI: "x:y", ReaderAt: strings.NewReader(content), Start: 2, Size: 10, Closer: &c}
			r, err := local.Section(t.Context(), b, ocispec.Descriptor{Size: tt.size}, tt.offset, tt.length)
			if tt.kind != nil {
				if !errors.Is(err, tt.kind) || c != 1 {
					t.Fatalf("error %v, closed %d times", err, c)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			if err := r.Close(); err != nil || c != 1 {
				t.Errorf("closed %d times, %v", c, err)
			}
		})
	}
}

func TestSectionOfWhatBecomesShorter(t *testing.T) {
	b := local.Blob{URI: "x:y", ReaderAt: strings.NewReader("012"), Size: 10}
	r, err := local.Section(t.Context(), b, ocispec.Descriptor{Size: 10}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if string(got) != "012" || !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, transport.ErrPermanent) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSectionEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := local.Blob{URI: "x:y", ReaderAt: bytes.NewReader(make([]byte, 10)), Size: 10}
	r, err := local.Section(ctx, b, ocispec.Descriptor{Size: 10}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
	if _, err := local.Section(ctx, b, ocispec.Descriptor{Size: 10}, 0, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("Section: %v", err)
	}
}

func TestOpen(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	must(os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "sub", "file"), []byte("content"), 0o644))
	must(os.Symlink("sub/file", filepath.Join(dir, "inside")))
	must(os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "absolute")))
	must(os.Symlink("../"+filepath.Base(outside)+"/secret", filepath.Join(dir, "up")))
	must(os.Symlink(outside, filepath.Join(dir, "out")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))

	tests := []struct {
		name, file string
		kind       error
	}{
		{"file", "sub/file", nil},
		{"link within", "inside", nil},
		{"missing", "missing", transport.ErrNotFound},
		{"below a file", "sub/file/x", transport.ErrNotFound},
		{"directory", "sub", transport.ErrPermanent},
		{"named pipe without a writer", "pipe", transport.ErrPermanent},
		{"absolute link out", "absolute", transport.ErrPermanent},
		{"relative link out", "up", transport.ErrPermanent},
		{"directory that is a link out", "out/secret", transport.ErrPermanent},
		{"link to itself", "loop", transport.ErrPermanent},
		{"dots", "../" + filepath.Base(outside) + "/secret", transport.ErrPermanent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content, err := local.ReadFile("x:y", dir, tt.file, 100)
			if tt.kind == nil {
				if err != nil || string(content) != "content" {
					t.Errorf("got %q, %v", content, err)
				}
				return
			}
			if !errors.Is(err, tt.kind) {
				t.Errorf("got %q, %v; want %v", content, err, tt.kind)
			}
		})
	}
	if _, err := local.ReadFile("x:y", dir, "sub/file", 6); err == nil || !strings.Contains(err.Error(), "limit of 6 bytes") {
		t.Errorf("a file above the limit: %v", err)
	}
	if _, err := local.Open("x:y", filepath.Join(dir, "nowhere"), "x"); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("no directory: %v", err)
	}
}

func TestErrorKinds(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.ENOENT: transport.ErrNotFound,
		syscall.EACCES: transport.ErrUnauthorized,
		syscall.EPERM:  transport.ErrUnauthorized,
		syscall.EMFILE: transport.ErrTemporary,
		syscall.ESTALE: transport.ErrTemporary,
		syscall.EIO:    transport.ErrPermanent,
	} {
		err := local.Errorf("oci:/x", &os.PathError{Op: "open", Path: "p", Err: errno}, "file %s", "p")
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v: %v is of another kind than %v", errno, err, want)
		}
		if want := "oci:/x: file p: " + errno.Error(); err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
