package transport

import (
	"context"
	"io"
	"net/url"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Route is one place where one blob may be had.
type Route struct {
	// URI names the place, complete: its scheme selects the Transport, the
	// rest is for that transport to read. It may carry user information; show
	// it only through [Redact].
	URI string

	// Priority orders routes: smaller is asked first. Equals are ordered by
	// what the engine measured.
	Priority int

	// Origin says who named this place: "name", "--from", a configuration
	// file and line, a document's URI. It is shown, never interpreted.
	Origin string

	// Remote says whether it was a document of somebody else's that named this
	// place, rather than the user or their configuration. See [ByOrigin].
	Remote Remote

	// Source is the place this route was made from, as its author wrote it:
	// the template, the base URI, the repository. Routes of many blobs that
	// share a Source are one source: what is learnt about it on one blob
	// (rate, latency, no ranges, lies) holds for the next. Empty means URI.
	Source string
}

// SourceKey returns Source, or URI where Source is empty.
func (r Route) SourceKey() string {
	if r.Source != "" {
		return r.Source
	}
	return r.URI
}

// Transport opens byte ranges of blobs at places of one kind. Implementations
// are safe for concurrent use.
type Transport interface {
	// Open asks route for length bytes of the blob desc from offset on, and
	// returns once the place has agreed to send them.
	//
	// offset is within the blob. length is positive, or -1 for "to the end",
	// which is only used with offset 0 where desc.Size is unknown (-1). A
	// request for the whole blob (offset 0, length desc.Size or -1) must work
	// at places that don't know ranges; the whole of an empty blob is length 0.
	// No bytes of another blob are nothing to ask for: that yields none, or is
	// [ErrPermanent].
	//
	// A digest that is not valid is [ErrPermanent] before anything is done with
	// it (in a path it might lead anywhere, CVE-2024-3727); so is a blob that
	// turns out to have another size than desc's.
	//
	// The reader yields the bytes from offset on and then io.EOF. It must
	// yield at most length bytes; when the place sends more than it was asked
	// for, the Read after the last byte returns an error that is
	// [ErrPermanent]. A body that ends early is io.ErrUnexpectedEOF. Bytes are
	// never decoded: a place that answers with a content coding is
	// [ErrPermanent].
	//
	// Every error is, or wraps, an [*Error] whose kind is one of the Err
	// values of this package, except ctx's own. Cancelling ctx ends Open and
	// any Read promptly. Close releases everything; it may be called at any
	// time, once.
	Open(ctx context.Context, route Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error)
}

// Sizer is an optional ability of a Transport: to say how large a blob is
// without reading it. The answer is a hint from an untrusted place.
type Sizer interface {
	// Size returns the blob's size in bytes at route, or an error as
	// [Transport.Open] would.
	Size(ctx context.Context, route Route, desc ocispec.Descriptor) (int64, error)
}

// Checker is an optional ability of a Transport: to judge a URI by itself.
type Checker interface {
	// Check says what is wrong with a URI of the transport's scheme, as far as
	// that can be told without asking anyone or looking at any file; nil is
	// nothing. The error is ErrPermanent.
	Check(uri string) error
}

// Queuer is an optional ability of a Transport: to say that its places let
// newcomers wait for their turn.
type Queuer interface {
	// Turn returns how long the first byte may take at the place without
	// anything being wrong there; 0 where it should come at once. Nobody is
	// asked.
	Turn(route Route) time.Duration
}

// Shortener is an optional ability of what [Transport.Open] returns: to be told
// that less is wanted than it was opened for. A place that sends in larger units
// than are read, blocks or pieces, need not be asked for those beyond.
type Shortener interface {
	// Shorten says that only the first length bytes of the range will be read;
	// the reader may return io.EOF after them. It may be called at any time,
	// beside Read and after Close, and doesn't wait for the place. A length that
	// is no less than before changes nothing.
	Shorten(length int64)
}

// Chunked is an optional ability of what [Transport.Open] returns, where the place
// keeps the blob in blocks or pieces and sends none of them in part: to say where
// they begin, so that no two ranges are of the same one.
type Chunked interface {
	// Chunks returns how many bytes they have, all but the last, and where in the
	// blob, counted from its beginning, one of them begins; what is before the blob
	// may be a part of it. A size of 0 says that they are not alike.
	Chunks() (size, first int64)
}

// Preparer is an optional ability of a Transport: to ask the user what a place
// wants to know of them, a passphrase or a password, before it is read. What is
// asked while a place is being read competes with the time it has for its first
// byte, and with what is drawn on the same terminal.
type Preparer interface {
	// Prepare returns when nothing is left to be asked for the place at uri, or
	// it doesn't say in time whether there is. It may connect to the place;
	// Open then goes on with that. It takes as long as the user does, within
	// ctx. Its error is as [Transport.Open]'s; Open would return it too, and not
	// ask again.
	Prepare(ctx context.Context, uri string) error
}

// Func makes a Transport of a function.
type Func func(ctx context.Context, route Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error)

// Open calls f.
func (f Func) Open(ctx context.Context, route Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	return f(ctx, route, desc, offset, length)
}

// Redact returns uri with any password in it replaced, fit to be shown; in a
// magnet also those of the URLs that it names. Of what isn't a URI, everything
// that may be user information goes.
func Redact(uri string) string {
	if len(uri) >= len(magnet) && strings.EqualFold(uri[:len(magnet)], magnet) {
		return redactMagnet(uri)
	}
	if !strings.Contains(uri, "@") {
		return uri
	}
	u, err := url.Parse(uri)
	if err == nil {
		if u.User == nil {
			return uri
		}
		return u.Redacted()
	}
	at := strings.LastIndex(uri, "@")
	start := 0
	if i := strings.Index(uri, "://"); i >= 0 && i < at {
		start = i + len("://")
	}
	return uri[:start] + "xxxxx" + uri[at:]
}

const magnet = "magnet:"

// redactMagnet is Redact for a magnet: its parameters hold URLs, escaped or not.
func redactMagnet(uri string) string {
	head, rest, _ := strings.Cut(uri, "?")
	query, fragment, named := strings.Cut(rest, "#")
	changed := false
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters {
		key, value, _ := strings.Cut(parameter, "=")
		plain, err := url.QueryUnescape(value)
		if err != nil {
			plain = value
		}
		if shown := Redact(plain); shown != plain {
			parameters[i], changed = key+"="+url.QueryEscape(shown), true
		}
	}
	if !changed {
		return uri
	}
	uri = head + "?" + strings.Join(parameters, "&")
	if named {
		uri += "#" + fragment
	}
	return uri
}
