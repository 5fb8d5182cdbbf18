package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/zeebo/blake3"
)

// blake3Digest is here computed without the package's own code.
func blake3Digest(content []byte) digest.Digest {
	return digest.Digest(fmt.Sprintf("blake3:%x", blake3.Sum256(content)))
}

func TestPutAndRead(t *testing.T) {
	tests := []struct {
		name    string
		content []byte
		digest  func([]byte) digest.Digest
	}{
		{"sha256", []byte("content"), digest.FromBytes},
		{"sha512", []byte("content"), digest.SHA512.FromBytes},
		{"blake3", []byte("content"), blake3Digest},
		{"empty", nil, digest.FromBytes},
		{"a MiB", randomBytes(1, 1<<20), digest.FromBytes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			d := tt.digest(tt.content)
			if _, err := s.Stat(d); !errors.Is(err, ErrNotFound) {
				t.Errorf("Stat before: %v", err)
			}
			if _, err := s.OpenBlob(d); !errors.Is(err, ErrNotFound) {
				t.Errorf("OpenBlob before: %v", err)
			}
			for range 2 {
				if err := s.Put(d, tt.content); err != nil {
					t.Fatal(err)
				}
			}
			if size, err := s.Stat(d); err != nil || size != int64(len(tt.content)) {
				t.Errorf("Stat: %d, %v", size, err)
			}
			got, err := s.ReadBlob(d, int64(len(tt.content)))
			if err != nil || !bytes.Equal(got, tt.content) {
				t.Errorf("ReadBlob: %d bytes, %v", len(got), err)
			}
			b, err := s.OpenBlob(d)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, tt.content) || b.Size() != int64(len(tt.content)) {
				t.Errorf("Blob: %d bytes of %d, %v", len(got), b.Size(), err)
			}
			for info, err := range s.Verify(t.Context()) {
				if err != nil || info.Digest != d {
					t.Errorf("Verify: %+v, %v", info, err)
				}
			}
		})
	}
}

func TestBlobIsRandomAccess(t *testing.T) {
	s := openStore(t, t.TempDir())
	b, err := s.OpenBlob(put(t, s, []byte("0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := make([]byte, 3)
	if n, err := b.ReadAt(p, 4); n != 3 || err != nil || string(p) != "456" {
		t.Errorf("ReadAt: %q, %v", p[:n], err)
	}
	if off, err := b.Seek(-2, io.SeekEnd); off != 8 || err != nil {
		t.Errorf("Seek: %d, %v", off, err)
	}
	if rest, err := io.ReadAll(b.File()); err != nil || string(rest) != "89" {
		t.Errorf("File: %q, %v", rest, err)
	}
}

func TestPutRefusesOtherContent(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := digest.FromString("content")
	if err := s.Put(d, []byte("something else")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Put: %v, want ErrCorrupt", err)
	}
	if _, err := s.Stat(d); !errors.Is(err, ErrNotFound) {
		t.Errorf("Stat: %v, want ErrNotFound", err)
	}
}

func TestDamagedBlob(t *testing.T) {
	s := openStore(t, t.TempDir())
	content := []byte("content")
	good, bad := put(t, s, []byte("good")), put(t, s, content)
	path, _ := digestPath(s.dir, blobsDir, bad)
	if err := os.WriteFile(path, []byte("CONTENT"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadBlob(bad, 100); !errors.Is(err, ErrCorrupt) {
		t.Errorf("ReadBlob: %v, want ErrCorrupt", err)
	}
	failed := map[digest.Digest]error{}
	for info, err := range s.Verify(t.Context()) {
		failed[info.Digest] = err
	}
	if len(failed) != 2 || failed[good] != nil || !errors.Is(failed[bad], ErrCorrupt) {
		t.Errorf("Verify: %v", failed)
	}
	checkError(t, failed[bad], path)
	if err := s.Put(bad, content); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadBlob(bad, 100); err != nil {
		t.Errorf("ReadBlob after Put: %v", err)
	}
}

func TestReadBlobCap(t *testing.T) {
	s := openStore(t, t.TempDir())
	_, err := s.ReadBlob(put(t, s, []byte("content")), 6)
	checkError(t, err, "more than the limit of 6")
}

func TestVerifyEndsWithContext(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, []byte("content"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Verify(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Verify: %v", err)
		}
	}
}

func TestBlobsNamesWhatIsForeign(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := put(t, s, []byte("content"))
	dir := s.path(blobsDir, "sha256")
	fifo := digest.FromString("a directory")
	for _, err := range []error{
		os.WriteFile(dir+"/README", nil, 0o644),
		os.Mkdir(s.path(blobsDir, "md5"), 0o755),
		os.Symlink("/etc/passwd", dir+"/"+strings.Repeat("0", 64)),
		os.Mkdir(dir+"/"+fifo.Hex(), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var found, foreign int
	for info, err := range s.Blobs() {
		switch {
		case err == nil && info.Digest == d && info.Size == 7 && !info.ModTime.IsZero():
			found++
		case errors.Is(err, ErrCorrupt):
			checkError(t, err, "/")
			foreign++
		default:
			t.Errorf("%+v, %v", info, err)
		}
	}
	if found != 1 || foreign != 4 {
		t.Errorf("found %d and %d foreign, want 1 and 4", found, foreign)
	}
	// Neither a link nor a directory is ever taken for a blob.
	for _, d := range []digest.Digest{digest.Digest("sha256:" + strings.Repeat("0", 64)), fifo} {
		if _, err := s.Stat(d); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Stat: %v", err)
		}
		if b, err := s.OpenBlob(d); err == nil {
			b.Close()
			t.Errorf("OpenBlob opened %s", d)
		}
	}
	if u, err := s.DF(); err != nil || u != (Usage{Blobs: 1, Bytes: 7}) {
		t.Errorf("DF: %+v, %v", u, err)
	}
}

var badDigests = map[string]digest.Digest{
	"empty":              "",
	"no algorithm":       digest.Digest(strings.Repeat("0", 64)),
	"no hex":             "sha256:",
	"short":              digest.Digest("sha256:" + strings.Repeat("0", 63)),
	"long":               digest.Digest("sha256:" + strings.Repeat("0", 65)),
	"upper case":         digest.Digest("sha256:" + strings.Repeat("A", 64)),
	"not hex":            digest.Digest("sha256:" + strings.Repeat("g", 64)),
	"traversal":          digest.Digest("sha256:" + strings.Repeat("../", 21) + "a"),
	"slash":              digest.Digest("sha256:" + strings.Repeat("a", 63) + "/"),
	"NUL":                digest.Digest("sha256:" + strings.Repeat("a", 63) + "\x00"),
	"algorithm traverse": digest.Digest("../sha256:" + strings.Repeat("0", 64)),
	"other algorithm":    digest.Digest("sha384:" + strings.Repeat("0", 96)),
	"sha512 with 64":     digest.Digest("sha512:" + strings.Repeat("0", 64)),
	"blake3 with 128":    digest.Digest("blake3:" + strings.Repeat("0", 128)),
	"huge":               digest.Digest("sha256:" + strings.Repeat("0", 1<<20)),
	"line feeds":         digest.Digest("sha256:\n" + strings.Repeat("0", 63)),
}

// Digests come from strangers' documents: none that isn't one may reach the
// filesystem, by any way in.
func TestEveryWayInChecksDigests(t *testing.T) {
	s := openStore(t, t.TempDir())
	lease, err := s.Lease("a")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	ways := map[string]func(digest.Digest) error{
		"Stat":     func(d digest.Digest) error { _, err := s.Stat(d); return err },
		"OpenBlob": func(d digest.Digest) error { _, err := s.OpenBlob(d); return err },
		"ReadBlob": func(d digest.Digest) error { _, err := s.ReadBlob(d, 1); return err },
		"Put":      func(d digest.Digest) error { return s.Put(d, nil) },
		"Ingest":   func(d digest.Digest) error { _, err := s.Ingest(t.Context(), d, 1); return err },
		"Hold":     func(d digest.Digest) error { return lease.Hold(d) },
		"PutRef": func(d digest.Digest) error {
			return s.PutRef(Ref{Name: "a", Descriptor: ocispec.Descriptor{Digest: d}})
		},
	}
	for way, enter := range ways {
		for name, d := range badDigests {
			t.Run(way+"/"+name, func(t *testing.T) {
				err := enter(d)
				checkError(t, err, "digest ")
				if errors.Is(err, ErrNotFound) || len(err.Error()) > 400 {
					t.Errorf("error: %v", err)
				}
			})
		}
	}
	for _, dir := range []string{blobsDir, ingestDir, refsDir} {
		if entries, err := os.ReadDir(s.path(dir)); err != nil || len(entries) > 0 {
			t.Errorf("%s has %v, %v", dir, entries, err)
		}
	}
}

// descriptorOf describes content.
func descriptorOf(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

func FuzzCheckDigest(f *testing.F) {
	for _, d := range badDigests {
		f.Add(string(d))
	}
	f.Add(digest.FromString("content").String())
	f.Fuzz(func(t *testing.T, text string) {
		alg, hex, err := checkDigest(digest.Digest(text))
		if err != nil {
			return
		}
		if alg+":"+hex != text || strings.ContainsAny(text, "/.\x00\n") {
			t.Errorf("%q was taken for %q, %q", text, alg, hex)
		}
		// Where the reference implementation knows the algorithm, it agrees.
		if alg != "blake3" && digest.Digest(text).Validate() != nil {
			t.Errorf("%q is not valid", text)
		}
	})
}
