// Package tree is the transport of scheme "file": a bare directory tree of
// blobs, file:///DIR, as "waybill publish", a web server's document root or
// "rsync" leave it. A blob is at DIR/ALGORITHM/HEX, or, where DIR is an OCI
// layout, at DIR/blobs/ALGORITHM/HEX; both are tried. file:///FILE is one blob, as
// the relative URIs of a waybill on this machine name them.
//
// Symbolic links that lead out of DIR are refused; see package
// transport/local.
package tree

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/local"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "file"

// URI returns the URI of the tree at dir, an absolute path.
func URI(dir string) string {
	return (&url.URL{Scheme: Scheme, Path: dir}).String()
}

// Transport reads blobs from trees. The zero value is ready.
type Transport struct{}

var (
	_ transport.Transport = Transport{}
	_ transport.Sizer     = Transport{}
	_ transport.Checker   = Transport{}
)

// Open implements [transport.Transport]. The route's URI is file:///DIR, or
// file:///FILE, which is [transport.ErrNotFound] for a blob of another size.
func (Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	f, err := open(route, desc)
	if err != nil {
		return nil, err
	}
	b, err := local.FileBlob(route.URI, f)
	if err != nil {
		return nil, err
	}
	return local.Section(ctx, b, desc, offset, length)
}

// Size implements [transport.Sizer].
func (Transport) Size(_ context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	f, err := open(route, desc)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b, err := local.FileBlob(route.URI, f)
	return b.Size, err
}

// Check implements [transport.Checker].
func (Transport) Check(uri string) error {
	_, err := directory(uri)
	return err
}

func open(route transport.Route, desc ocispec.Descriptor) (*os.File, error) {
	dir, err := directory(route.URI)
	if err != nil {
		return nil, err
	}
	// Before it is a path (CVE-2024-3727).
	if err := blobdigest.Validate(desc.Digest); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
		if desc.Size >= 0 && desc.Size != info.Size() {
			return nil, transport.Errorf(transport.ErrNotFound, route.URI, "is one file, of %d bytes; %s has %d", info.Size(), desc.Digest, desc.Size)
		}
		return local.OpenPath(route.URI, dir)
	}
	name := path.Join(desc.Digest.Algorithm().String(), desc.Digest.Encoded())
	f, err := local.Open(route.URI, dir, name)
	if !errors.Is(err, transport.ErrNotFound) {
		return f, err
	}
	f, errBlobs := local.Open(route.URI, dir, path.Join("blobs", name))
	if errors.Is(errBlobs, transport.ErrNotFound) {
		return nil, err
	}
	return f, errBlobs
}

// directory returns the DIR of file:///DIR (RFC 8089).
func directory(uri string) (string, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "", transport.Errorf(transport.ErrPermanent, uri, "not a URI; write file:///DIR")
	case u.Scheme != Scheme || u.Opaque != "":
		return "", transport.Errorf(transport.ErrPermanent, uri, "not file:///DIR with an absolute DIR")
	case u.Host != "" && u.Host != "localhost":
		return "", transport.Errorf(transport.ErrPermanent, uri, "file URI of another host, %q; write file:///DIR with three slashes", u.Host)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", transport.Errorf(transport.ErrPermanent, uri, "user, query and fragment mean nothing in file:///DIR; percent-encode '?' and '#' in DIR")
	case u.Path == "" || u.Path[0] != '/':
		return "", transport.Errorf(transport.ErrPermanent, uri, "no directory; write file:///DIR")
	}
	return u.Path, nil
}
