package ftp

import (
	"context"
	"io"
	"net/url"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

// typeFile is what the URI of one file ends in (RFC 1738 §3.2.2): the transfer
// type of files that are read as they are. Directories have none.
const typeFile = ";type=i"

// splitFile splits the URI of one file into that of its directory and its name,
// and reports whether uri is one. That of a directory comes back as it is.
func splitFile(uri string) (place, name string, file bool, err error) {
	path, file := strings.CutSuffix(uri, typeFile)
	if !file {
		return uri, "", false, nil
	}
	slash := strings.LastIndexByte(path, '/')
	name, err = url.PathUnescape(path[slash+1:])
	if err != nil || name == "" || strings.HasSuffix(name, "/") || strings.HasSuffix(path[:slash+1], "://") {
		return "", "", false, transport.Errorf(transport.ErrPermanent, uri, "names no file; write ftp://HOST/DIR/FILE%s", typeFile)
	}
	return path[:slash+1], name, true, nil
}

// Open implements [transport.Transport]: of the blob that a URI of one file
// names, or of those in a directory, see [filetree.Tree].
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	place, name, file, err := t.fileOf(route, desc)
	if err != nil {
		return nil, err
	}
	if !file {
		return t.Tree.Open(ctx, route, desc, offset, length)
	}
	return t.OpenFile(ctx, place, name, filetree.Part{Size: desc.Size, Offset: offset, Length: length})
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	place, name, file, err := t.fileOf(route, desc)
	if err != nil {
		return 0, err
	}
	if !file {
		return t.Tree.Size(ctx, route, desc)
	}
	return t.FileSize(ctx, place, name)
}

// fileOf is splitFile of a route that may be asked, to a blob whose digest,
// where there is one, is valid.
func (t *Transport) fileOf(route transport.Route, desc ocispec.Descriptor) (place, name string, file bool, err error) {
	if route.Remote != 0 && !t.public {
		return "", "", false, transport.Errorf(transport.ErrRefused, route.URI, "%s named it, and this transport is for the user's own places", route.Origin)
	}
	place, name, file, err = splitFile(route.URI)
	if err == nil && file && desc.Digest != "" {
		if err := blobdigest.Validate(desc.Digest); err != nil {
			return "", "", false, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
		}
	}
	return place, name, file, err
}
