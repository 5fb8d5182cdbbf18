//go:build linux

package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/bundle"
)

func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func TestCompressions(t *testing.T) {
	plain := archive(t, file("f", strings.Repeat("content ", 10_000)))
	gz, zst := gzipped(t, plain), zstdOf(t, plain)
	members := append(gzipped(t, plain[:1000]), gzipped(t, plain[1000:])...)
	frames := append(zstdOf(t, plain[:1000]), zstdOf(t, plain[1000:])...)
	skippable := append([]byte("\x53\x2a\x4d\x18\x03\x00\x00\x00abc"), zst...)
	cat := func(b []byte, more string) []byte { return append(bytes.Clone(b), more...) }
	const oci, docker = "application/vnd.oci.image.layer", "application/vnd.docker.image.rootfs"
	tests := []struct {
		name, mediaType string
		blob            []byte
		err             error
		warns           bool
	}{
		{"OCI plain", oci + ".v1.tar", plain, nil, false},
		{"OCI gzip", oci + ".v1.tar+gzip", gz, nil, false},
		{"OCI zstd", oci + ".v1.tar+zstd", zst, nil, false},
		{"OCI nondistributable plain", oci + ".nondistributable.v1.tar", plain, nil, false},
		{"OCI nondistributable gzip", oci + ".nondistributable.v1.tar+gzip", gz, nil, false},
		{"OCI nondistributable zstd", oci + ".nondistributable.v1.tar+zstd", zst, nil, false},
		{"Docker gzip", docker + ".diff.tar.gzip", gz, nil, false},
		{"Docker plain", docker + ".diff.tar", plain, nil, false},
		{"Docker zstd", docker + ".diff.tar.zstd", zst, nil, false},
		{"Docker foreign", docker + ".foreign.diff.tar.gzip", gz, nil, false},
		{"gzip members", oci + ".v1.tar+gzip", members, nil, false},
		{"zstd frames", oci + ".v1.tar+zstd", frames, nil, false},
		{"zstd behind a skippable frame", oci + ".v1.tar+zstd", skippable, nil, false},
		{"gzip said to be plain", oci + ".v1.tar", gz, nil, true},
		{"plain said to be gzip", oci + ".v1.tar+gzip", plain, nil, true},
		{"zstd said to be gzip", oci + ".v1.tar+gzip", zst, nil, true},
		{"NULs after gzip", oci + ".v1.tar+gzip", cat(gz, strings.Repeat("\x00", 600)), nil, true},
		{"junk after gzip", oci + ".v1.tar+gzip", cat(gz, "junk"), nil, true},
		{"half a member after gzip", oci + ".v1.tar+gzip", cat(gz, string(gz[:5])), bundle.ErrInvalid, false},
		{"gzip cut short", oci + ".v1.tar+gzip", gz[:len(gz)-9], bundle.ErrInvalid, false},
		{"gzip without its checksum", oci + ".v1.tar+gzip", gz[:len(gz)-4], bundle.ErrInvalid, false},
		{"gzip with a wrong checksum", oci + ".v1.tar+gzip", cat(gz[:len(gz)-8], "\x01\x02\x03\x04\x05\x06\x07\x08"), bundle.ErrInvalid, false},
		{"zstd cut short", oci + ".v1.tar+zstd", zst[:len(zst)-5], bundle.ErrInvalid, false},
		{"plain cut short", oci + ".v1.tar", plain[:700], bundle.ErrInvalid, false},
		{"xz", oci + ".v1.tar+gzip", []byte("\xfd7zXZ\x00more"), bundle.ErrInvalid, false},
		{"bzip2", oci + ".v1.tar+gzip", []byte("BZh91AY"), bundle.ErrInvalid, false},
		{"web page", oci + ".v1.tar+gzip", []byte("<!DOCTYPE html>"), bundle.ErrInvalid, false},
		{"encrypted", oci + ".v1.tar+gzip+encrypted", gz, bundle.ErrInvalid, false},
		{"no layer at all", "application/vnd.in-toto+json", gz, bundle.ErrInvalid, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			work, warned := t.TempDir(), false
			img := bundle.Image{Config: configOf(t, ocispec.ImageConfig{}, plain), Layers: []bundle.Layer{blobLayer(test.mediaType, test.blob)}}
			err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{Warn: func(string) { warned = true }})
			if !errors.Is(err, test.err) || warned != test.warns {
				t.Fatalf("Create = %v (warned: %v), want %v (%v)", err, warned, test.err, test.warns)
			}
			if err != nil {
				empty(t, work)
			}
		})
	}
}

func TestArchivesThatEndOddly(t *testing.T) {
	tests := map[string][]byte{
		"nothing at all":        {},
		"no entries":            archive(t),
		"no end-of-archive":     archive(t, dir("d", 0o755))[:512],
		"padding of GNU tar":    append(archive(t, dir("d", 0o755)), make([]byte, 8192)...),
		"junk after the end":    append(archive(t, dir("d", 0o755)), "junk after the end of the archive"...),
		"another archive after": append(archive(t, dir("d", 0o755)), archive(t, dir("e", 0o755))...),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			if err := bundle.Create(t.Context(), t.TempDir()+"/b", imageOf(t, b), bundle.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("blob of no bytes", func(t *testing.T) {
		img := bundle.Image{Config: configOf(t, ocispec.ImageConfig{}, nil), Layers: []bundle.Layer{blobLayer(gzipLayer, nil)}}
		if err := bundle.Create(t.Context(), t.TempDir()+"/b", img, bundle.Options{Warn: refused(t)}); err != nil {
			t.Error(err)
		}
	})
}

func TestWrongContent(t *testing.T) {
	a, b := archive(t, file("f", "a")), archive(t, file("f", "b"))
	other := func(tars ...[]byte) bundle.Image {
		img := imageOf(t, a, b)
		img.Config = configOf(t, ocispec.ImageConfig{}, tars...)
		return img
	}
	long, short := imageOf(t, a), imageOf(t, a)
	long.Layers[0].Descriptor.Size--
	short.Layers[0].Descriptor.Size++
	tests := []struct {
		name string
		img  bundle.Image
		err  error
	}{
		{"diff_id", other(a, a), bundle.ErrDiffID},
		{"order of layers", other(b, a), bundle.ErrDiffID},
		{"fewer diff_ids", other(a), bundle.ErrInvalid},
		{"more diff_ids", other(a, b, b), bundle.ErrInvalid},
		{"blob longer than its descriptor", long, bundle.ErrInvalid},
		{"blob shorter than its descriptor", short, bundle.ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			work := t.TempDir()
			if err := bundle.Create(t.Context(), work+"/b", test.img, bundle.Options{}); !errors.Is(err, test.err) {
				t.Errorf("Create = %v, want %v", err, test.err)
			}
			empty(t, work)
		})
	}
}

// TestDiffIDAlgorithms checks that a diff_id may be any digest of the
// specification.
func TestDiffIDAlgorithms(t *testing.T) {
	tar := archive(t, file("f", "x"))
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		img := imageOf(t, tar)
		img.Config = bytes.ReplaceAll(img.Config, []byte(digest.FromBytes(tar)), []byte(alg.FromBytes(tar)))
		if err := bundle.Create(t.Context(), t.TempDir()+"/b", img, bundle.Options{}); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

// errAfter is a reader of b that then fails.
func errAfter(b []byte, err error) io.ReadCloser {
	return io.NopCloser(io.MultiReader(bytes.NewReader(b), iotest.ErrReader(err)))
}

func TestRewound(t *testing.T) {
	lower := archive(t, file("lower", "x"), dir("d", 0o755))
	right := archive(t, file("right", strings.Repeat("right", 1000)))
	wrong := archive(t, file("wrong", strings.Repeat("wrong", 1000)), dir("d/wrong", 0))
	blob := gzipped(t, right)
	lies := map[string][]byte{
		"whole archive":           gzipped(t, wrong),
		"bytes that don't unpack": append(bytes.Clone(blob[:100]), bytes.Repeat([]byte{0xff}, 200)...),
		"not even gzip":           []byte("BZh91AY"),
		"more than may be":        gzipped(t, archive(t, file("bomb", strings.Repeat("\x00", 2<<20)))),
		"nothing":                 nil,
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			img := imageOf(t, lower, right)
			var opened [2]int
			first := img.Layers[0].Open
			img.Layers[0].Open = func(ctx context.Context) (io.ReadCloser, error) { opened[0]++; return first(ctx) }
			img.Layers[1].Open = func(context.Context) (io.ReadCloser, error) {
				if opened[1]++; opened[1] <= 3 {
					return errAfter(lie, bundle.ErrRewound), nil
				}
				return io.NopCloser(bytes.NewReader(blob)), nil
			}
			img.Layers[1].Descriptor.Size = max(int64(len(blob)), int64(len(lie)))
			if len(lie) > len(blob) {
				blob = append(bytes.Clone(blob), make([]byte, len(lie)-len(blob))...) // padded to the same size
			}
			work := t.TempDir()
			if err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{MaxBytes: 1 << 20}); err != nil {
				t.Fatal(err)
			}
			if opened != [2]int{4, 4} {
				t.Errorf("layers were opened %v times, want 4 each", opened)
			}
			got := scan(t, work+"/b/rootfs")
			for path := range got {
				switch path {
				case ".", "lower", "d", "right":
				default:
					t.Errorf("%s is left of the wrong bytes", path)
				}
			}
		})
	}

	t.Run("for ever", func(t *testing.T) {
		img, opened := imageOf(t, right), 0
		img.Layers[0].Open = func(context.Context) (io.ReadCloser, error) {
			opened++
			return errAfter(blob[:10], bundle.ErrRewound), nil
		}
		work := t.TempDir()
		err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{MaxRestarts: 2})
		if !errors.Is(err, bundle.ErrRewound) || !strings.Contains(err.Error(), "MaxRestarts") || opened != 3 {
			t.Errorf("Create = %v after %d attempts, want ErrRewound after 3", err, opened)
		}
		empty(t, work)
	})
}

// TestSourceSpeaksFirst checks that what a source says is reported and not what
// its bytes looked like: wrong bytes fail to unpack before they are known to be
// wrong.
func TestSourceSpeaksFirst(t *testing.T) {
	verdict := errors.New("no source has this blob")
	for name, b := range map[string][]byte{"garbage": bytes.Repeat([]byte{7}, 50), "cut": gzipped(t, archive(t, file("f", "x")))[:30], "whole": gzipped(t, archive(t, file("f", "x")))} {
		img := imageOf(t, archive(t, file("f", "x")))
		img.Layers[0].Open = func(context.Context) (io.ReadCloser, error) { return errAfter(b, verdict), nil }
		work := t.TempDir()
		if err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{}); !errors.Is(err, verdict) || errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%s: Create = %v, want %v", name, err, verdict)
		}
		empty(t, work)
	}
	img := imageOf(t, archive(t))
	img.Layers[0].Open = func(context.Context) (io.ReadCloser, error) { return nil, verdict }
	if err := bundle.Create(t.Context(), t.TempDir()+"/b", img, bundle.Options{}); !errors.Is(err, verdict) {
		t.Errorf("Open failed: Create = %v, want %v", err, verdict)
	}
}

// stalling yields its bytes and then nothing until its context ends.
type stalling struct {
	ctx     context.Context
	r       io.Reader
	stalled func()
	closed  *atomic.Int32
}

func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == io.EOF {
		s.stalled()
		<-s.ctx.Done()
		err = s.ctx.Err()
	}
	return n, err
}

func (s *stalling) Close() error { s.closed.Add(1); return nil }

func TestCancelled(t *testing.T) {
	tar := archive(t, file("f", strings.Repeat("x", 1<<20)))
	blob := gzipped(t, tar)
	for name, n := range map[string]int{"before the first byte": 0, "in the middle": len(blob) / 2, "before the end": len(blob)} {
		t.Run(name, func(t *testing.T) {
			cause := errors.New("stopped by the test")
			ctx, cancel := context.WithCancelCause(t.Context())
			var closed atomic.Int32
			img := imageOf(t, tar)
			img.Layers[0].Open = func(ctx context.Context) (io.ReadCloser, error) {
				return &stalling{ctx, bytes.NewReader(blob[:n]), func() { cancel(cause) }, &closed}, nil
			}
			work := t.TempDir()
			if err := bundle.Create(ctx, work+"/b", img, bundle.Options{}); !errors.Is(err, cause) {
				t.Errorf("Create = %v, want the context's cause", err)
			}
			if closed.Load() != 1 {
				t.Errorf("reader was closed %d times, want once", closed.Load())
			}
			empty(t, work)
		})
	}
}

// TestFullDisk checks that a failure of this machine is reported at once, not
// after the rest of the blob was waited for.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	work := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", work)
	t.Cleanup(func() { run(t, "umount", work) })
	tar := archive(t, file("f", strings.Repeat("x", 4<<20)))
	blob := gzipped(t, tar)
	img := imageOf(t, tar)
	var closed atomic.Int32
	img.Layers[0].Open = func(ctx context.Context) (io.ReadCloser, error) {
		return &stalling{ctx, bytes.NewReader(blob[:len(blob)-8]), func() {}, &closed}, nil
	}
	err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Create = %v, want one about space", err)
	}
	if _, err := os.Stat(work + "/b"); !os.IsNotExist(err) {
		t.Errorf("a bundle appeared: %v", err)
	}
	empty(t, work)
}

// TestWarnings checks that an archive can't flood whoever listens.
func TestWarnings(t *testing.T) {
	var links []entry
	for range 500 {
		links = append(links, symlink("l", "x").xattr("user.no-link-has-this", "1"))
	}
	var got []string
	warn := func(message string) { got = append(got, message) }
	if err := bundle.Create(t.Context(), t.TempDir()+"/b", imageOf(t, archive(t, links...)), bundle.Options{Warn: warn}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 100 || !strings.Contains(got[0], "user.no-link-has-this") {
		t.Errorf("got %d warnings (%.1q), want 100", len(got), got)
	}
}
