package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Caps on an archive's index.
const (
	maxMembers    = 200_000
	maxMemberName = 4096
	maxLinks      = 16 // links behind links
)

// errNoMember is wrapped where the archive lacks a member.
var errNoMember = errors.New("not in the archive")

// extent is where a member's bytes lie in the tar.
type extent struct {
	offset, size int64
}

// member is a member of the tar: bytes or a link.
type member struct {
	extent
	target string // of a link, as a member's name
	bad    string // why the member can't be read
}

// members is the index of a tar by cleaned name.
type members map[string]member

// documents may stand in an archive only once: readers that take the first and
// readers that take the last must not see different images.
var documents = map[string]bool{
	ocispec.ImageLayoutFile: true,
	ocispec.ImageIndexFile:  true,
	dockerManifestFile:      true,
}

// indexTar reads the headers of a tar of the given size. Members other than
// files and links, and those whose name leads out of the archive, are left out.
// Of several with one name the last counts, as it does on unpacking.
func indexTar(ctx context.Context, r io.ReaderAt, size int64) (members, error) {
	section := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(section)
	index := members{}
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return index, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar that can be read, after %d members: %w", n, err)
		}
		switch {
		case n == maxMembers:
			return nil, fmt.Errorf("more than %d members; that is the limit", maxMembers)
		case len(hdr.Name) > maxMemberName || len(hdr.Linkname) > maxMemberName:
			return nil, fmt.Errorf("member %d has a name longer than %d bytes; that is the limit", n, maxMemberName)
		}
		// tar.Reader reads whole blocks without looking ahead, so the member's
		// bytes start where it stopped.
		at, err := section.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := index.add(hdr, at); err != nil {
			return nil, err
		}
	}
}

func (ms members) add(hdr *tar.Header, at int64) error {
	name := path.Clean(hdr.Name)
	if !fs.ValidPath(name) {
		return nil
	}
	m := member{extent: extent{at, hdr.Size}}
	switch hdr.Typeflag {
	case tar.TypeReg:
		if isSparse(hdr) {
			m.bad = "it is stored sparse; make the archive without --sparse"
		}
	case tar.TypeGNUSparse:
		m.bad = "it is stored sparse; make the archive without --sparse"
	case tar.TypeSymlink:
		m.target = path.Join(path.Dir(name), hdr.Linkname)
		if path.IsAbs(hdr.Linkname) || !fs.ValidPath(m.target) {
			m.bad = "it is a link that leads out of the archive"
		}
	case tar.TypeLink:
		m.target = path.Clean(hdr.Linkname)
		if !fs.ValidPath(m.target) {
			m.bad = "it is a link that leads out of the archive"
		}
	default:
		return nil
	}
	if _, ok := ms[name]; ok && documents[name] {
		return fmt.Errorf("%s is in the archive twice", name)
	}
	ms[name] = m
	return nil
}

// isSparse reports whether a member's bytes are not simply in a row (GNU tar's
// sparse formats in pax headers).
func isSparse(hdr *tar.Header) bool {
	for k := range hdr.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// find returns where the bytes of the named member lie, through links within
// the archive. A member that isn't there is errNoMember.
func (ms members) find(name string) (extent, error) {
	at := path.Clean(name)
	for range maxLinks {
		m, ok := ms[at]
		switch {
		case !ok:
			return extent{}, fmt.Errorf("%q: %w", clip(name), errNoMember)
		case m.bad != "":
			return extent{}, fmt.Errorf("%q: %s", clip(name), m.bad)
		case m.target == "":
			return m.extent, nil
		}
		at = m.target
	}
	return extent{}, fmt.Errorf("%q: more than %d links one behind the other; that is the limit", clip(name), maxLinks)
}

func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
