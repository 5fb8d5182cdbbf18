package webarchive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

const (
	// maxMembers is how many members an archive may have: each may cost a
	// request.
	maxMembers = 10_000
	// maxMemberName is the longest name of one.
	maxMemberName = 4096
	// ahead is how much is read at a time of what isn't content.
	ahead = 32 << 10
)

// archive is a tar and where its members lie in it.
type archive struct {
	url     string
	size    int64
	members map[string]member
}

// member is a file in a tar.
type member struct {
	offset, size int64
	bad          string // why it can't be read
}

// read reads the headers of an archive.
func (f *files) read(ctx context.Context, url string) (*archive, error) {
	size, err := f.web.Size(ctx, f.route(url), ocispec.Descriptor{Size: -1})
	if err != nil {
		return nil, err
	}
	if size < 0 {
		return nil, transport.Errorf(transport.ErrPermanent, url, "the server doesn't say how large the archive is")
	}
	r := &ranges{ctx: ctx, files: f, url: url, size: size}
	a := &archive{url: url, size: size, members: map[string]member{}}
	if err := a.index(r); err != nil {
		if r.err != nil {
			return nil, r.err // of the server, by kind
		}
		return nil, transport.Errorf(transport.ErrPermanent, url, "%w", err)
	}
	return a, nil
}

// index enters the members. Of several with one name the last counts, as it does
// on unpacking.
func (a *archive) index(r *ranges) error {
	if err := r.refuseCompressed(); err != nil {
		return err
	}
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		hdr, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("not a tar that can be read: %w", err)
		case n == maxMembers:
			return fmt.Errorf("more than %d members in the archive; that is the limit", maxMembers)
		case len(hdr.Name) > maxMemberName:
			return fmt.Errorf("a member of the archive has a name longer than %d bytes; that is the limit", maxMemberName)
		}
		name := path.Clean(hdr.Name)
		if !fs.ValidPath(name) {
			continue
		}
		// tar.Reader reads whole blocks without looking ahead, so the content
		// begins where it stopped.
		m := member{offset: r.at, size: hdr.Size}
		switch {
		case hdr.Typeflag == tar.TypeDir:
			continue
		case hdr.Typeflag != tar.TypeReg || isSparse(hdr):
			m.bad = "it is no plain file in the archive (a link, or stored sparse)"
		case m.offset+m.size > a.size:
			m.bad = "the archive ends before it does"
		}
		a.members[name] = m
	}
}

func isSparse(hdr *tar.Header) bool {
	for k := range hdr.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// ranges reads an archive by ranges: a window at a time, and only what is looked
// at. What is skipped is never asked for.
type ranges struct {
	ctx   context.Context
	files *files
	url   string
	size  int64

	at     int64 // the next byte
	window []byte
	start  int64 // of the window
	err    error // the server's
}

// Read implements [io.Reader].
func (r *ranges) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.at < r.start || r.at >= r.start+int64(len(r.window)) {
		if err := r.fill(); err != nil {
			r.err = err
			return 0, err
		}
	}
	n := copy(p, r.window[r.at-r.start:])
	r.at += int64(n)
	return n, nil
}

// fill gets the window at r.at.
func (r *ranges) fill() error {
	n := min(ahead, r.size-r.at)
	body, err := r.files.web.Open(r.ctx, r.files.route(r.url), ocispec.Descriptor{Size: r.size}, r.at, n)
	if err != nil {
		return err
	}
	defer body.Close()
	window := make([]byte, n)
	if _, err := io.ReadFull(body, window); err != nil {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		return transport.Errorf(transport.ErrTemporary, r.url, "in a header of the archive: %w", err)
	}
	r.window, r.start = window, r.at
	return nil
}

// Seek implements [io.Seeker]: tar.Reader skips contents by it.
func (r *ranges) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("a place before the archive")
	}
	r.at = offset
	return offset, nil
}

// refuseCompressed looks at the first bytes.
func (r *ranges) refuseCompressed() error {
	magic := make([]byte, 4)
	n, err := io.ReadFull(r, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	r.at = 0
	for _, m := range [][]byte{{0x1f, 0x8b}, {0x28, 0xb5, 0x2f, 0xfd}, {'B', 'Z', 'h'}, {0xfd, '7', 'z', 'X'}} {
		if bytes.HasPrefix(magic[:n], m) {
			return errors.New("the archive is compressed as a whole and can't be read in place; publish it as a plain .tar, or download it and use oci-archive:FILE")
		}
	}
	return nil
}
