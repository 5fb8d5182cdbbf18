package testimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"
)

const goarch = runtime.GOARCH

// modTime is the time of every generated file: fixed, for digests that repeat.
var modTime = time.Date(2024, 2, 29, 12, 34, 56, 0, time.UTC)

// Random returns the tar of one file, data/SEED.bin, of size random bytes: it
// doesn't compress.
func Random(seed uint64, size int64) io.Reader {
	return generated(seed, size, randomBytes(seed))
}

// Text returns the tar of one file, data/SEED.bin, of size bytes that compress
// well.
func Text(seed uint64, size int64) io.Reader {
	line := fmt.Sprintf("%d: the digest says what, and never where\n", seed)
	return generated(seed, size, &repeat{text: strings.Repeat(line, 64)})
}

// generated streams the tar, so that its size costs no memory.
func generated(seed uint64, size int64, content io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: fmt.Sprintf("data/%d.bin", seed),
			Size: size, Mode: 0o644, ModTime: modTime,
		})
		if err == nil {
			_, err = io.CopyN(t, content, size)
		}
		if err == nil {
			err = t.Close()
		}
		w.CloseWithError(err)
	}()
	return r
}

func randomBytes(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// repeat yields its text over and over.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// Entry is one entry of a tar: the header and, for a regular file, its content.
// A zero ModTime is the fixed time of all generated files; a zero Mode is 0644,
// or 0755 for a directory.
type Entry struct {
	tar.Header
	Content string
}

// Tar returns the tar of the entries, in order and exactly as given: two of one
// name, absolute names and links to anywhere are the caller's to ask for.
func Tar(entries ...Entry) (io.Reader, error) {
	var buf bytes.Buffer
	t := tar.NewWriter(&buf)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(e.Content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if h.ModTime.IsZero() {
			h.ModTime = modTime
		}
		if err := t.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("tar entry %s: %w", h.Name, err)
		}
		if _, err := io.WriteString(t, e.Content); err != nil {
			return nil, fmt.Errorf("tar entry %s: %w", h.Name, err)
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("end of tar: %w", err)
	}
	return &buf, nil
}
