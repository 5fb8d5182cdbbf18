package locate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/uritmpl"
)

// From returns the locator that a source's URI stands for; [Kinds] lists what
// there is. A URI of another scheme is taken as it is, for whatever transport
// reads that scheme. The origin says who named the source.
//
// A source located by From may be asked for any blob. Whether it has it is
// found by asking.
func From(uri, origin string) (Locator, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	if k, ok := kindOf(scheme); ok && (scheme != "docker" || strings.HasPrefix(rest, "//")) {
		return k.parse(uri, origin)
	}
	if strings.HasPrefix(rest, "//") {
		return fromURI(uri, origin)
	}
	return fromNamed(uri, origin)
}

// fromNamed reads a URI that is, or could be, an image's name.
func fromNamed(uri, origin string) (Locator, error) {
	n, err := name.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("source %w", err)
	}
	return FromName(n, origin)
}

// fromPlace reads the URI of a place that keeps files. It may hold a password,
// which a name may not; a fragment, which chooses an image, is no part of the
// place.
func fromPlace(uri, origin string) (Locator, error) {
	place, _, _ := strings.Cut(uri, "#")
	u, err := url.Parse(place)
	if err != nil {
		return nil, notURI(uri)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("source %q: no host, bucket or CID after %s://", transport.Redact(uri), u.Scheme)
	}
	return fixed(transport.Route{URI: place, Source: place, Origin: origin}), nil
}

func notURI(uri string) error {
	return fmt.Errorf("source %q: not a URI (RFC 3986); percent-encode what can't stand in one", transport.Redact(uri))
}

// fromURI takes a URI as it is.
func fromURI(uri, origin string) (Locator, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return nil, notURI(uri)
	}
	return fixed(transport.Route{URI: uri, Source: uri, Origin: origin}), nil
}

func fromMagnet(uri, origin string) (Locator, error) {
	if !strings.HasPrefix(uri, "magnet:?") {
		return nil, fmt.Errorf("source %q: want magnet:?xt=urn:btih:… or urn:btmh:…", transport.Redact(uri))
	}
	return fromURI(uri, origin)
}

// fromTorrent makes the path of a .torrent file absolute.
func fromTorrent(uri, origin string) (Locator, error) {
	path, fragment, chosen := strings.Cut(strings.TrimPrefix(uri, "torrent:"), "#")
	if path == "" {
		return nil, fmt.Errorf("source %q: want torrent:FILE", uri)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", uri, err)
	}
	plain := "torrent:" + abs
	if chosen {
		plain += "#" + fragment
	}
	return fixed(transport.Route{URI: plain, Source: uri, Origin: origin}), nil
}

// FromName returns the locator for the place an image's name speaks of. A bare
// digest speaks of none; that is an error.
func FromName(n name.Name, origin string) (Locator, error) {
	switch n.Kind {
	case name.Registry:
		uri := "docker://" + n.Host + "/" + n.Repository
		return fixed(transport.Route{URI: uri, Source: uri, Origin: origin}), nil
	case name.Layout, name.OCIArchive, name.DockerArchive:
		abs, err := n.Absolute()
		if err != nil {
			return nil, err
		}
		uri := n.Kind.String() + ":" + abs.Path
		return fixed(transport.Route{URI: uri, Source: uri, Origin: origin}), nil
	case name.Place:
		abs, err := n.Absolute()
		if err != nil {
			return nil, err
		}
		return fixed(transport.Route{URI: abs.Path, Source: abs.Path, Origin: origin}), nil
	}
	return nil, fmt.Errorf("source %q: a digest is not a place; give a registry, a layout, an archive or a URI", n)
}

// fixed yields the same place for every blob.
func fixed(r transport.Route) Locator {
	return Func(func(context.Context, ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) { yield(r, nil) }
	})
}

func fromFile(uri, origin string) (Locator, error) {
	rest := strings.TrimPrefix(uri, "file:")
	u, err := url.Parse(uri)
	if err != nil || u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(rest, "//") || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("source %q: want file:///DIR with an absolute directory", uri)
	}
	plain := "file://" + (&url.URL{Path: filepath.Clean(u.Path)}).EscapedPath()
	return fixed(transport.Route{URI: plain, Source: uri, Origin: origin}), nil
}

func fromHTTP(uri, origin string) (Locator, error) {
	if !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://") {
		return nil, fmt.Errorf("source %q: names no host", transport.Redact(uri))
	}
	text := uri
	if strings.HasSuffix(uri, "/") && !strings.Contains(uri, "{") {
		text = uri + "{algorithm}/{encoded}"
	}
	shown := transport.Redact(uri)
	if !strings.Contains(text, "{") {
		return nil, fmt.Errorf("source %q: want a template such as https://HOST/{algorithm}/{encoded}, or a base that ends in \"/\"", shown)
	}
	if authority, _, _ := strings.Cut(text[strings.Index(text, "://")+len("://"):], "/"); authority == "" || strings.Contains(authority, "{") {
		return nil, fmt.Errorf("source %q: names no host", clip(shown))
	}
	tmpl, err := uritmpl.Parse(text)
	if err == nil {
		err = tmpl.Only(uritmpl.BlobVariables...)
	}
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", clip(shown), err)
	}
	t := template{text: uri, tmpl: tmpl, origin: origin}
	if err := uritmpl.TryBlobs(func(d digest.Digest) (*url.URL, error) {
		uri, err := t.expand(d)
		if err != nil {
			return nil, err
		}
		return url.Parse(uri)
	}); err != nil {
		return nil, fmt.Errorf("source %q: %w", clip(shown), err)
	}
	return t, nil
}

// template is a CAS template: each blob has a place of its own.
type template struct {
	text   string
	tmpl   *uritmpl.Template
	origin string
}

func (t template) Locate(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return func(yield func(transport.Route, error) bool) {
		uri, err := t.expand(desc.Digest)
		if err != nil {
			yield(transport.Route{}, fmt.Errorf("source %q: %w", transport.Redact(t.text), err))
			return
		}
		yield(transport.Route{URI: uri, Source: t.text, Origin: t.origin}, nil)
	}
}

// expand returns the URI of the blob with a digest, as the template has it.
func (t template) expand(d digest.Digest) (string, error) {
	// Before it is a part of a URI (CVE-2024-3727).
	if err := blobdigest.Validate(d); err != nil {
		return "", err
	}
	uri, err := t.tmpl.Expand(uritmpl.BlobValues(d))
	if err != nil {
		return "", err
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return "", errors.New("expands to what is no URI (RFC 3986)") // the parser's error quotes it
	case u.Hostname() == "":
		return "", errors.New("expands to a URI without a host")
	}
	return uri, nil
}
