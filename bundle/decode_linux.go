package bundle

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compression is how a layer's tar archive is wrapped.
type compression string

const (
	plain    compression = "uncompressed"
	gzipped  compression = "gzip"
	zstdized compression = "zstd"
)

// layerCompressions maps the media types of image layers to what they promise:
// those of image-spec layer.md, the deprecated non-distributable ones included,
// and of Docker's image manifest version 2 schema 2, with the plain and zstd
// forms that builders added to it.
var layerCompressions = map[string]compression{
	"application/vnd.oci.image.layer.v1.tar":      plain,
	"application/vnd.oci.image.layer.v1.tar+gzip": gzipped,
	"application/vnd.oci.image.layer.v1.tar+zstd": zstdized,

	"application/vnd.oci.image.layer.nondistributable.v1.tar":      plain,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": gzipped,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": zstdized,

	"application/vnd.docker.image.rootfs.diff.tar":         plain,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":    gzipped,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":    zstdized,
	"application/vnd.docker.image.rootfs.foreign.diff.tar": plain,

	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": gzipped,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.zstd": zstdized,
}

// magics are the first bytes of formats a layer may turn out to be in. Those
// without a compression are not allowed in images, and named to say so.
var magics = []struct {
	name  string
	magic []byte
	is    compression
}{
	{"gzip", []byte{0x1f, 0x8b, 8}, gzipped},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, zstdized},
	{"xz", []byte{0xfd, '7', 'z', 'X', 'Z', 0}, ""},
	{"bzip2", []byte("BZh"), ""},
	{"lz4", []byte{0x04, 0x22, 0x4d, 0x18}, ""},
	{"zip", []byte("PK\x03\x04"), ""},
	{"HTML", []byte("<!DOCTYPE"), ""},
	{"HTML", []byte("<html"), ""},
	{"JSON", []byte("{\""), ""},
}

// expectedCompression returns what mediaType promises of a layer blob.
func expectedCompression(mediaType string) (compression, error) {
	if c, ok := layerCompressions[mediaType]; ok {
		return c, nil
	}
	if strings.HasSuffix(mediaType, "+encrypted") {
		return "", fmt.Errorf("%w: layer is encrypted (%s): decrypt the image first", ErrInvalid, mediaType)
	}
	return "", fmt.Errorf("%w: media type %q is not that of an image layer", ErrInvalid, mediaType)
}

// sniff returns how the stream is compressed, by its first bytes.
func sniff(br *bufio.Reader) (compression, error) {
	head, err := br.Peek(16)
	if err != nil && err != io.EOF {
		return "", err
	}
	for _, m := range magics {
		if !bytes.HasPrefix(head, m.magic) {
			continue
		}
		if m.is == "" {
			return "", fmt.Errorf("%w: layer is %s, and can only be a tar archive, plain or compressed by gzip or zstd", ErrInvalid, m.name)
		}
		return m.is, nil
	}
	// A skippable frame may come before the first of zstd's data frames
	// (RFC 8878 §3.1.2), as zstd:chunked and seekable zstd write them.
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return zstdized, nil
	}
	return plain, nil
}

// newDecoder returns the uncompressed form of br's stream, by its first bytes.
// Images in the wild carry wrong media types, other unpackers don't mind, and
// the diff_id confirms the outcome; so what differs from want is said to warn
// and put up with.
func newDecoder(br *bufio.Reader, want compression, warn func(string)) (io.ReadCloser, error) {
	got, err := sniff(br)
	if err != nil {
		return nil, err
	}
	if got != want {
		if _, err := br.Peek(1); err != io.EOF { // an empty blob is an empty archive
			warn(fmt.Sprintf("layer is %s where its media type says %s; unpacked as what it is", got, want))
		}
	}
	switch got {
	case gzipped:
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrInvalid, err)
		}
		zr.Multistream(false)
		return &gzipMembers{zr: zr, br: br, warn: warn}, nil
	case zstdized:
		zr, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", ErrInvalid, err)
		}
		return zr.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}

// gzipMembers reads a file of gzip members one after the other (RFC 1952 §2.2)
// and stops at what follows the last one. Padding and junk there are no part of
// the archive: gzip(1) skips them, and so does everything that unpacks by
// calling it. The blob's digest covers them, the diff_id shows that nothing is
// missing.
type gzipMembers struct {
	zr   *gzip.Reader
	br   *bufio.Reader
	warn func(string)
	done bool
}

func (g *gzipMembers) Read(p []byte) (int, error) {
	for !g.done {
		n, err := g.zr.Read(p)
		if err == io.EOF {
			err = g.next()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}

// next moves on to the member after the one that just ended.
func (g *gzipMembers) next() error {
	head, err := g.br.Peek(2)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b:
		if len(head) > 0 {
			g.warn("layer has bytes after its last gzip member; ignored")
		}
		g.done = true
		return nil
	}
	if err := g.zr.Reset(g.br); err != nil {
		return err
	}
	g.zr.Multistream(false)
	return nil
}

func (g *gzipMembers) Close() error { return g.zr.Close() }
