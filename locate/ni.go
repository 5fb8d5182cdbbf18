package locate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/ni"
	"github.com/waybill-project/waybill/transport"
)

// NamedInformation is the locator of blobs at web servers that have them by their
// hashes, below /.well-known/ni/ (RFC 6920 §4). origins are the servers that the
// user named, by hand or by the host of an image's name: https://HOST[:PORT], or
// http://. Nobody said that they have any: they come after those that somebody
// named. Of a blob whose digest has no name there (blake3) it knows nothing.
func NamedInformation(origins ...string) (Locator, error) {
	var servers []wellKnown
	for _, text := range origins {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return nil, notURI(text)
		case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
			u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
			return nil, fmt.Errorf("server %q: want https://HOST, below which /.well-known/ni/ is looked at", transport.Redact(text))
		}
		servers = append(servers, wellKnown{server: u.Scheme + "://" + u.Host})
	}
	return Func(func(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			for _, s := range servers {
				r, ok := s.route(desc.Digest)
				r.Priority = RemotePriority
				if ok && !yield(r, nil) {
					return
				}
			}
		}
	}), nil
}

// wellKnown is a server that is asked as RFC 6920 §4 says.
type wellKnown struct {
	// server is its origin, scheme and authority.
	server string
	// origin says who named it; empty is nobody but itself.
	origin string
}

// route returns the place of a blob, if it can have one.
func (w wellKnown) route(d digest.Digest) (transport.Route, bool) {
	path, ok := ni.Path(d)
	source := w.server + ni.WellKnown
	r := transport.Route{URI: w.server + path, Source: source, Origin: w.origin}
	if r.Origin == "" {
		r.Origin = "well-known of " + strings.TrimPrefix(w.server, "https://")
	}
	return r, ok
}

// fromNI reads ni://HOST, for any blob, or ni://HOST/ALGORITHM;VALUE, for that
// one.
func fromNI(uri, origin string) (Locator, error) {
	u, err := ni.ParseSource(uri)
	if err == nil && u.Authority == "" {
		err = errors.New("it names no host to ask; write ni://HOST")
	}
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	server := wellKnown{server: "https://" + u.Authority, origin: origin}
	return Func(func(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			if u.Digest != "" && desc.Digest != u.Digest {
				return
			}
			if r, ok := server.route(desc.Digest); ok {
				yield(r, nil)
			}
		}
	}), nil
}
