package locate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/transport"
)

// RemotePriority is the least [transport.Route] Priority of routes that somebody
// else's document named: the user's own come first, however many they are
// (spec/location.md §2).
const RemotePriority = 1000

// blobSchemes are those of URIs by which a document from elsewhere may name one
// blob.
var blobSchemes = []string{"https", "http", "ftp", "ipfs", "magnet"}

// BlobURI returns the URI of a route to what a document from elsewhere names by
// a URI: one file that is one blob, of scheme https, http, ftp, ipfs or magnet.
// An error says in one line why nobody is asked there; credentials in the URI
// are a reason.
func BlobURI(uri string) (string, error) {
	u, err := target.ParseURI(uri, blobSchemes...)
	if err != nil {
		return "", err
	}
	if u.Scheme != "ftp" {
		return uri, nil
	}
	// Without a transfer type it would be a directory (package transport/ftp).
	path, kind, typed := strings.Cut(u.EscapedPath(), ";type=")
	switch {
	case typed && kind != "i":
		return "", fmt.Errorf("an FTP transfer of type %q; blobs are read as they are, with type i", kind)
	case path == "" || strings.HasSuffix(path, "/"):
		return "", errors.New("an FTP directory where a file is wanted")
	}
	return "ftp://" + u.Host + path + ";type=i", nil
}

// URLs is the locator of the places that a descriptor itself names (image-spec,
// "Content Descriptors", urls): candidates like any other, and the only ones
// there are of layers that may not be distributed. The routes are marked as
// remote, since whoever made the image wrote them; no credentials are sent there
// (CVE-2020-15157). note is told of each that is refused, and may be nil.
func URLs(note func(Note)) Locator {
	return Func(func(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			refuse := func(format string, args ...any) {
				if note != nil {
					note(Note{Where: "urls of " + string(desc.Digest), Text: fmt.Sprintf(format, args...)})
				}
			}
			if len(desc.URLs) > image.MaxURLs {
				refuse("%d urls; the limit is %d, the rest is ignored", len(desc.URLs), image.MaxURLs)
			}
			seen := map[string]bool{}
			for _, text := range desc.URLs[:min(len(desc.URLs), image.MaxURLs)] {
				uri, err := BlobURI(text)
				if err != nil {
					refuse("%s not used: %v", target.Shown(text), err)
					continue
				}
				if seen[uri] {
					continue
				}
				seen[uri] = true
				if !yield(transport.Route{URI: uri, Priority: RemotePriority, Origin: "urls of the descriptor", Remote: transport.RemotePublic}, nil) {
					return
				}
			}
		}
	})
}
