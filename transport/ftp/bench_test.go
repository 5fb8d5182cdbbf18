package ftp_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/ftp"
)

const benchSize = 1 << 30

// benchServer returns a vsftpd with a file "f" of benchSize bytes that take no
// room.
func benchServer(b *testing.B, o realserver.VsftpdOptions) *vsftpd {
	b.Helper()
	v := startVsftpd(b, o)
	file := filepath.Join(v.root, "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(file, benchSize); err != nil {
		b.Fatal(err)
	}
	return v
}

// BenchmarkWhole reads 1 GiB, to be held against BenchmarkCurl.
func BenchmarkWhole(b *testing.B) {
	v := benchServer(b, realserver.VsftpdOptions{})
	tr := newTransport(b, ftp.Options{})
	buf := make([]byte, 256<<10) // as large as the engine's
	b.SetBytes(benchSize)
	for b.Loop() {
		readRange(b, tr, v.URL(ftp.Scheme, nil), filetree.Part{Size: benchSize, Length: benchSize}, buf)
	}
}

// BenchmarkCurl has curl do the same.
func BenchmarkCurl(b *testing.B) {
	v := benchServer(b, realserver.VsftpdOptions{})
	b.SetBytes(benchSize)
	for b.Loop() {
		if out, err := exec.Command("curl", "-sS", "-o", "/dev/null", v.URL(ftp.Scheme, nil)+"/f").CombinedOutput(); err != nil {
			b.Fatalf("curl: %v: %s", err, out)
		}
	}
}

// BenchmarkRanges reads ranges of 1 MiB from one connection, each cut at its
// end.
func BenchmarkRanges(b *testing.B) {
	v := benchServer(b, realserver.VsftpdOptions{})
	tr := newTransport(b, ftp.Options{})
	benchRanges(b, v, func() *ftp.Transport { return tr })
}

// BenchmarkRangesWithLogins reads the same, each from a connection of its own:
// what it would cost to give up the connection of every range that was cut.
func BenchmarkRangesWithLogins(b *testing.B) {
	v := benchServer(b, realserver.VsftpdOptions{})
	benchRanges(b, v, func() *ftp.Transport { return newTransport(b, ftp.Options{}) })
}

func benchRanges(b *testing.B, v *vsftpd, next func() *ftp.Transport) {
	b.Helper()
	buf := make([]byte, 256<<10)
	b.SetBytes(1 << 20)
	offset := int64(0)
	for b.Loop() {
		tr := next()
		readRange(b, tr, v.URL(ftp.Scheme, nil), filetree.Part{Size: benchSize, Offset: offset, Length: 1 << 20}, buf)
		if offset += 1 << 20; offset == benchSize {
			offset = 0
		}
	}
}

func readRange(b *testing.B, tr *ftp.Transport, place string, part filetree.Part, buf []byte) {
	b.Helper()
	body, err := tr.OpenFile(b.Context(), place, "f", part)
	if err != nil {
		b.Fatal(err)
	}
	defer body.Close()
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body}, buf); n != part.Length || err != nil {
		b.Fatalf("%d bytes, %v", n, err)
	}
}
