package layout

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/local"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "oci"

// maxLayoutFile is the largest oci-layout file that is read.
const maxLayoutFile = 4096

// URI returns the URI of the layout at dir.
func URI(dir string) string {
	return name.Name{Kind: name.Layout, Path: dir}.String()
}

// Transport reads blobs and names from layouts. The zero value is ready.
type Transport struct{}

var (
	_ transport.Transport = Transport{}
	_ transport.Sizer     = Transport{}
	_ transport.Checker   = Transport{}
)

// Open implements [transport.Transport]. The route's URI is oci:DIR.
func (Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	f, err := open(route, desc.Digest)
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
	f, err := open(route, desc.Digest)
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

// directory returns the DIR of oci:DIR.
func directory(uri string) (string, error) {
	// What is no name of a layout isn't parsed as any other: the error would
	// quote it, and with it what may be a password.
	if !strings.HasPrefix(uri, Scheme+":") {
		return "", transport.Errorf(transport.ErrPermanent, uri, "not oci:DIR")
	}
	n, err := name.Parse(uri)
	if err != nil {
		return "", transport.Errorf(transport.ErrPermanent, uri, "%w", err)
	}
	return n.Path, nil
}

func open(route transport.Route, d digest.Digest) (*os.File, error) {
	dir, err := directory(route.URI)
	if err != nil {
		return nil, err
	}
	file, err := BlobPath(d)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
	}
	return local.Open(route.URI, dir, file)
}

// BlobPath returns the path of a blob within a layout, with slashes:
// blobs/ALGORITHM/HEX. The digest is validated first (CVE-2024-3727).
func BlobPath(d digest.Digest) (string, error) {
	if err := blobdigest.Validate(d); err != nil {
		return "", err
	}
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()), nil
}

// Resolve returns the image that n, a [name.Layout], means: see [Find].
func (t Transport) Resolve(ctx context.Context, n name.Name) (Found, error) {
	if err := ctx.Err(); err != nil {
		return Found{}, err
	}
	index, err := readIndex(n)
	if err != nil {
		return Found{}, err
	}
	return Find(n, index, func(file string) ([]byte, error) {
		return local.ReadFile(n.String(), n.Path, file, image.MaxDocument)
	})
}

// Entries returns the descriptors in the layout's index.json, in its order.
// Their annotations hold the refs ([Ref]).
func (t Transport) Entries(ctx context.Context, n name.Name) ([]ocispec.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	index, err := readIndex(n)
	if err != nil {
		return nil, err
	}
	return Entries(n, index)
}

func readIndex(n name.Name) ([]byte, error) {
	if n.Kind != name.Layout {
		return nil, transport.Errorf(transport.ErrPermanent, n.String(), "not the name of an OCI layout; write oci:DIR[:REF]")
	}
	marker, err := local.ReadFile(n.String(), n.Path, ocispec.ImageLayoutFile, maxLayoutFile)
	if err != nil {
		return nil, notLayout(n, err)
	}
	if err := CheckVersion(n, marker); err != nil {
		return nil, err
	}
	content, err := local.ReadFile(n.String(), n.Path, ocispec.ImageIndexFile, image.MaxDocument)
	if errors.Is(err, transport.ErrNotFound) {
		return nil, transport.Errorf(transport.ErrPermanent, n.String(), "%s isn't an OCI layout: it has no %s file", n.Path, ocispec.ImageIndexFile)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// notLayout says what to do about a directory that is there and no layout.
func notLayout(n name.Name, err error) error {
	if !errors.Is(err, transport.ErrNotFound) {
		return err
	}
	if info, statErr := os.Stat(n.Path); statErr != nil || !info.IsDir() {
		if n.Ref == "" {
			return err
		}
		return transport.Errorf(transport.ErrNotFound, n.String(), "no directory %s (a colon that is part of the path is written %%3A)", n.Path)
	}
	return transport.Errorf(transport.ErrPermanent, n.String(), "%s isn't an OCI layout: it has no %s file", n.Path, ocispec.ImageLayoutFile)
}

// CheckVersion reads an oci-layout file. Any version 1 is accepted: it has been
// 1.0.0 ever since.
func CheckVersion(n name.Name, content []byte) error {
	var marker ocispec.ImageLayout
	if err := json.Unmarshal(content, &marker); err != nil {
		return transport.Errorf(transport.ErrPermanent, n.String(), "%s: not JSON: %w", ocispec.ImageLayoutFile, err)
	}
	if major, _, _ := strings.Cut(marker.Version, "."); major != "1" {
		return transport.Errorf(transport.ErrPermanent, n.String(), "%s: version %q; this program reads version 1", ocispec.ImageLayoutFile, marker.Version)
	}
	return nil
}
