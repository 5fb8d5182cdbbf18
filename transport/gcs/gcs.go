package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// endpoint is Google's.
const endpoint = "https://storage.googleapis.com"

// emulatorVariable names the emulator that stands in for Google, as Google's
// own clients know it: HOST:PORT or a URL. It is asked anonymously.
const emulatorVariable = "STORAGE_EMULATOR_HOST"

// Options configures a [Transport].
type Options struct {
	// HTTP makes the requests.
	HTTP *httpclient.Client
	// Endpoint is the URL of the store that URIs without endpoint mean, and one
	// that tokens are sent to. Empty means the emulator that
	// STORAGE_EMULATOR_HOST names, which gets no tokens, or else Google.
	Endpoint string
	// Token, where set, returns the bearer token to send, or "" for none. Nil
	// means Application Default Credentials.
	Token func(context.Context) (string, error)
	// Getenv reads the environment; nil means os.Getenv. Of the metadata
	// server's address (GCE_METADATA_HOST) the process's own is used.
	Getenv func(string) string
}

// Transport is the [transport.Transport] and [transport.Sizer] of the scheme
// gs, and reads the names of the layouts there. It is safe for concurrent use.
type Transport struct {
	*filetree.Tree
	files files
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ filetree.Files      = files{}
)

// New returns a transport. Nothing is asked of anyone before the first request.
func New(o Options) *Transport {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	f := files{client: o.HTTP, endpoint: o.Endpoint, trusted: o.Endpoint, token: o.Token, media: new(sync.Map)}
	if f.token == nil {
		f.token = objectstore.NewTokens(defaultCredentials{getenv: o.Getenv}.token).Get
	}
	if f.endpoint == "" {
		f.endpoint, f.unusable = defaultEndpoint(o.Getenv(emulatorVariable))
	}
	return &Transport{Tree: filetree.New(f), files: f}
}

// Check says what is wrong with a URI of the scheme gs, asking nobody.
func (t *Transport) Check(uri string) error {
	_, err := parsePlace(uri)
	return err
}

// Close closes the connections that no request is using.
func (t *Transport) Close() error {
	t.files.client.CloseIdleConnections()
	return nil
}

// defaultEndpoint returns the URL of the emulator, HOST:PORT or a URL, or
// Google's where there is none.
func defaultEndpoint(emulator string) (string, error) {
	if emulator == "" {
		return endpoint, nil
	}
	if !strings.Contains(emulator, "://") {
		emulator = "http://" + emulator
	}
	e, err := objectstore.Endpoint(emulator)
	if err != nil {
		return "", fmt.Errorf("%s: %w", emulatorVariable, err)
	}
	return e, nil
}

// files implements [filetree.Files].
type files struct {
	client   *httpclient.Client
	endpoint string // of URIs that name none
	unusable error  // why there is no endpoint, or nil
	trusted  string // a further endpoint that tokens are sent to
	token    func(context.Context) (string, error)
	media    *sync.Map // the endpoints that are asked by the JSON API
}

// request is what to ask of an object.
type request struct {
	base               string // the endpoint
	url, authorization string
	media              string // the URL in the JSON API
	// uri is the object's, for messages.
	uri string
	// nobody says why it is asked anonymously, or is empty.
	nobody string
}

// OpenFile implements [filetree.Files].
func (f files) OpenFile(ctx context.Context, uri, name string, part filetree.Part) (io.ReadCloser, error) {
	var body *httprange.Body
	err := f.ask(ctx, uri, name, func(r request) (err error) {
		body, err = f.open(ctx, r, part)
		return err
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

// open opens a part of an object.
func (f files) open(ctx context.Context, r request, part filetree.Part) (*httprange.Body, error) {
	body, err := httprange.Open(ctx, f.client, httprange.Request{
		URL: r.url, Authorization: r.authorization, Size: part.Size, Offset: part.Offset, Length: part.Length,
	})
	if err != nil {
		return nil, f.unlessCoded(ctx, r, err)
	}
	if err := storedCoding(body.Response.Header, r); err != nil {
		_ = body.Close()
		return nil, err
	}
	return body, nil
}

// FileSize implements [filetree.Files].
func (f files) FileSize(ctx context.Context, uri, name string) (int64, error) {
	var size int64
	err := f.ask(ctx, uri, name, func(r request) error {
		n, header, err := objectstore.Size(ctx, f.client, httpclient.Request{URL: r.url, Authorization: r.authorization})
		if coded := storedCoding(header, r); coded != nil {
			return coded
		}
		if err != nil {
			return explain(err, r)
		}
		size = n
		return nil
	})
	return size, err
}

// ask has do ask for the file called name at the place uri: by the XML API, and
// where an endpoint that isn't Google's has nothing there, by the JSON API.
// Emulators answer the former under one host's name only.
func (f files) ask(ctx context.Context, uri, name string, do func(request) error) error {
	r, err := f.request(ctx, uri, name)
	if err != nil {
		return err
	}
	if _, ok := f.media.Load(r.base); ok {
		r.url = r.media
		return do(r)
	}
	err = do(r)
	var answer *objectstore.ServiceError
	if isGoogle(r.base) || !errors.As(err, &answer) || answer.Status.Code != http.StatusNotFound || answer.Code != "" {
		return err
	}
	r.url = r.media
	switch again := do(r); {
	case again == nil:
		f.media.Store(r.base, true)
		return nil
	case errors.Is(again, transport.ErrTemporary), errors.Is(again, transport.ErrThrottled), ctx.Err() != nil:
		return again
	}
	return err
}

// unlessCoded returns err, explained. Where the object was there but its answer
// no good, that may be Google's decompressing, about which a HEAD tells more.
func (f files) unlessCoded(ctx context.Context, r request, err error) error {
	var status *httpclient.StatusError
	if !errors.As(err, &status) && (errors.Is(err, transport.ErrPermanent) || errors.Is(err, transport.ErrRangeUnsupported)) {
		_, header, _ := objectstore.Size(ctx, f.client, httpclient.Request{URL: r.url, Authorization: r.authorization})
		if coded := storedCoding(header, r); coded != nil {
			return coded
		}
	}
	return explain(err, r)
}

// storedCoding reports what is wrong with an object that is stored with a
// content coding. Google names it with every answer, decoded or not.
func storedCoding(header http.Header, r request) error {
	coding := strings.TrimSpace(header.Get("X-Goog-Stored-Content-Encoding"))
	if coding == "" || strings.EqualFold(coding, "identity") {
		return nil
	}
	return transport.Errorf(transport.ErrPermanent, r.uri,
		"is stored with Content-Encoding %q, which Google decodes on the way; upload it again without (or, where the stored bytes are the blob's: gcloud storage objects update --clear-content-encoding)",
		httpclient.OneLine(coding))
}

// request returns what to ask of the file called name at the place uri.
func (f files) request(ctx context.Context, uri, name string) (request, error) {
	p, err := parsePlace(uri)
	if err != nil {
		return request{}, err
	}
	base := p.endpoint
	if base == "" {
		if f.unusable != nil {
			return request{}, transport.Errorf(transport.ErrPermanent, objectstore.Shown(uri), "%w", f.unusable)
		}
		base = f.endpoint
	}
	key := objectstore.Key(p.prefix, name)
	r := request{
		base: base, uri: objectstore.ObjectURI(Scheme, p.bucket, key),
		url:   objectstore.URL(base, p.bucket, key),
		media: base + "/storage/v1/b/" + url.PathEscape(p.bucket) + "/o/" + url.PathEscape(key) + "?alt=media",
	}
	switch {
	case p.anonymous:
		r.nobody = "asked anonymously, as the URI says"
		return r, nil
	case base != f.trusted && !isGoogle(base):
		r.nobody = "asked anonymously: tokens are sent to https://*.googleapis.com only"
		return r, nil
	}
	token, err := f.token(ctx)
	if err != nil {
		return request{}, credentialsError(ctx, uri, err)
	}
	if token == "" {
		r.nobody = "asked anonymously, for there are no Google credentials here; run 'gcloud auth application-default login' or set GOOGLE_APPLICATION_CREDENTIALS"
		return r, nil
	}
	r.authorization = "Bearer " + token
	return r, nil
}

// credentialsError says that there is no token for asking uri.
func credentialsError(ctx context.Context, uri string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	kind := transport.ErrUnauthorized
	if errors.Is(err, transport.ErrTemporary) {
		kind = transport.ErrTemporary
	}
	return transport.Errorf(kind, objectstore.Shown(uri), "Google credentials: %w; for a public bucket add ?anonymous=true", err)
}

// isGoogle reports whether the store at base, an endpoint, is Google's, and
// nobody in between can read what is sent to it.
func isGoogle(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" {
		return false
	}
	return strings.HasSuffix(u.Hostname(), ".googleapis.com")
}
