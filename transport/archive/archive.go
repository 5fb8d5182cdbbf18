package archive

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/local"
)

// identity tells whether a file is still the one that was indexed.
type identity struct {
	dev, inode uint64
	size       int64
	modified   time.Time
}

func identify(f *os.File) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	id := identity{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.inode = uint64(st.Dev), st.Ino
	}
	return id, nil
}

// archive is what is known of one file.
type archive struct {
	id      identity
	size    int64 // of the tar
	members members

	// unpacked holds the tar where the file is compressed; else nil, and the
	// file itself is opened for each read.
	unpacked *os.File

	docker chan struct{} // holds a token while somebody makes images
	images *dockerImages // made when first asked for
}

// indexFile reads through an open file.
func (t *Transport) indexFile(ctx context.Context, uri string, f *os.File, id identity) (*archive, error) {
	a := &archive{id: id, size: id.size, docker: make(chan struct{}, 1)}
	how, err := sniff(f, 0, id.size)
	if err != nil {
		return nil, local.Errorf(uri, err, "reading")
	}
	var tarball io.ReaderAt = f
	if how != plain {
		in := io.NewSectionReader(f, 0, id.size)
		if a.unpacked, a.size, err = unpack(ctx, in, how, t.TempDir, t.maxUnpacked()); err != nil {
			return nil, fail(ctx, uri, err)
		}
		tarball = a.unpacked
	}
	if a.members, err = indexTar(ctx, tarball, a.size); err != nil {
		if a.unpacked != nil {
			a.unpacked.Close()
		}
		return nil, fail(ctx, uri, err)
	}
	return a, nil
}

// fail returns ctx's own error as it is, and any other as one about the
// archive.
func fail(ctx context.Context, uri string, err error) error {
	var known *transport.Error
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()), errors.As(err, &known):
		return err
	case errors.Is(err, errNoMember):
		return transport.Errorf(transport.ErrNotFound, uri, "%w", err)
	}
	return transport.Errorf(transport.ErrPermanent, uri, "%w", err)
}

// handle is an archive that is open for reading.
type handle struct {
	*archive
	uri  string
	file *os.File
}

// tarball returns what the extents of members are in.
func (h *handle) tarball() io.ReaderAt {
	if h.unpacked != nil {
		return h.unpacked
	}
	return h.file
}

// Close closes the file; what was unpacked stays for others.
func (h *handle) Close() error {
	return h.file.Close()
}

// read returns the content of a small member.
func (h *handle) read(name string, limit int64) ([]byte, error) {
	e, err := h.members.find(name)
	if err != nil {
		return nil, err
	}
	return h.readExtent(name, e, limit)
}

func (h *handle) readExtent(name string, e extent, limit int64) ([]byte, error) {
	if e.size > limit {
		return nil, transport.Errorf(transport.ErrPermanent, h.uri, "%q is %d bytes; the limit is %d", clip(name), e.size, limit)
	}
	content := make([]byte, e.size)
	if _, err := io.ReadFull(io.NewSectionReader(h.tarball(), e.offset, e.size), content); err != nil {
		return nil, local.Errorf(h.uri, err, "reading %q", clip(name))
	}
	return content, nil
}

// ociBlob returns the blob that the layout in the archive holds under d.
func (h *handle) ociBlob(d digest.Digest) (local.Blob, error) {
	file, err := layout.BlobPath(d)
	if err != nil {
		return local.Blob{}, err
	}
	e, err := h.members.find(file)
	if err != nil {
		return local.Blob{}, err
	}
	return h.blob(e), nil
}

func (h *handle) blob(e extent) local.Blob {
	return local.Blob{URI: h.uri, ReaderAt: h.tarball(), Start: e.offset, Size: e.size, Closer: h}
}

// ociIndex returns the index.json in the archive.
func (h *handle) ociIndex(n name.Name) ([]byte, error) {
	marker, err := h.read(ocispec.ImageLayoutFile, maxLayoutFile)
	if errors.Is(err, errNoMember) {
		return nil, transport.Errorf(transport.ErrPermanent, h.uri, "%s isn't an OCI archive: it has no %s member%s", path.Base(n.Path), ocispec.ImageLayoutFile, h.maybeDocker())
	}
	if err != nil {
		return nil, err
	}
	if err := layout.CheckVersion(n, marker); err != nil {
		return nil, err
	}
	content, err := h.read(ocispec.ImageIndexFile, maxDocument)
	if err != nil {
		return nil, h.broken(err)
	}
	return content, nil
}

// broken returns err as one about the archive where a member is missing that
// has to be there: not as "not found", which is said of what was asked for.
func (h *handle) broken(err error) error {
	if errors.Is(err, errNoMember) {
		return transport.Errorf(transport.ErrPermanent, h.uri, "%w", err)
	}
	return err
}

func (h *handle) maybeDocker() string {
	if _, ok := h.members[dockerManifestFile]; ok {
		return "; read it as docker-archive:FILE"
	}
	return ""
}
