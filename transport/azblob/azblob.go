package azblob

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
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// version is the version of the REST API that is spoken (x-ms-version).
const version = "2023-11-03"

// Options configures a [Transport].
type Options struct {
	// HTTP makes the requests.
	HTTP *httpclient.Client
	// Token, where set, returns the bearer token of Microsoft Entra ID to send,
	// or "" for none. Nil means what DefaultAzureCredential finds.
	Token func(context.Context) (string, error)
	// Getenv reads the environment for accounts' keys and SAS tokens; nil means
	// os.Getenv. DefaultAzureCredential reads the process's own.
	Getenv func(string) string
}

// Transport is the [transport.Transport] and [transport.Sizer] of the scheme
// azblob, and reads the names of the layouts there. It is safe for concurrent
// use.
type Transport struct {
	*filetree.Tree
	files files
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ filetree.Files      = files{}
)

// New returns a transport. Nothing is asked of anyone, and the environment not
// read, before the first request.
func New(o Options) *Transport {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	f := files{client: o.HTTP, token: o.Token}
	f.configured = sync.OnceValues(func() (storage, error) { return fromEnvironment(o.Getenv) })
	if f.token == nil {
		f.token = objectstore.NewTokens(newEntra().token).Get
	}
	return &Transport{Tree: filetree.New(f), files: f}
}

// Check says what is wrong with a URI of the scheme azblob, asking nobody.
func (t *Transport) Check(uri string) error {
	_, err := parsePlace(uri)
	return err
}

// Close closes the connections that no request is using.
func (t *Transport) Close() error {
	t.files.client.CloseIdleConnections()
	return nil
}

// files implements [filetree.Files].
type files struct {
	client     *httpclient.Client
	configured func() (storage, error)
	token      func(context.Context) (string, error)
}

// request is what to ask of a blob.
type request struct {
	url string // with a SAS token
	uri string // the blob's, for messages
	// header is sent, and signed where there is a key.
	header        http.Header
	authorization string
	secrets       []string

	// who says with what it is asked, to be read where that was refused.
	who string
	// nobody says why it is asked anonymously, or is empty.
	nobody string
}

// OpenFile implements [filetree.Files].
func (f files) OpenFile(ctx context.Context, uri, name string, part filetree.Part) (io.ReadCloser, error) {
	byteRange := ""
	if part.Length >= 0 && (part.Offset != 0 || part.Length != part.Size) {
		// As package httprange writes it: it is signed.
		byteRange = fmt.Sprintf("bytes=%d-%d", part.Offset, part.Offset+part.Length-1)
	}
	r, err := f.request(ctx, uri, name, http.MethodGet, byteRange)
	if err != nil {
		return nil, err
	}
	body, err := httprange.Open(ctx, f.client, httprange.Request{
		URL: r.url, Header: r.header, Authorization: r.authorization,
		Size: part.Size, Offset: part.Offset, Length: part.Length,
	})
	if err != nil {
		return nil, explain(err, r)
	}
	return body, nil
}

// FileSize implements [filetree.Files].
func (f files) FileSize(ctx context.Context, uri, name string) (int64, error) {
	r, err := f.request(ctx, uri, name, http.MethodHead, "")
	if err != nil {
		return 0, err
	}
	size, _, err := objectstore.Size(ctx, f.client, httpclient.Request{URL: r.url, Header: r.header, Authorization: r.authorization})
	if err != nil {
		return 0, explain(err, r)
	}
	return size, nil
}

// request returns what to ask of the file called name at the place uri, by
// whoever may.
func (f files) request(ctx context.Context, uri, name, method, byteRange string) (request, error) {
	p, err := parsePlace(uri)
	if err != nil {
		return request{}, err
	}
	own, err := f.configured()
	if err != nil && !p.anonymous {
		return request{}, transport.Errorf(transport.ErrUnauthorized, objectstore.Shown(uri), "%w; for a public container add anonymous=true", err)
	}
	if own.account != p.account {
		own = storage{}
	}
	base := p.base(own)
	key := objectstore.Key(p.prefix, name)
	r := request{
		url: objectstore.URL(base, p.container, key),
		uri: objectstore.ObjectURI(Scheme, p.account+"/"+p.container, key),
		header: http.Header{
			"X-Ms-Version": {version},
			"X-Ms-Date":    {time.Now().UTC().Format(http.TimeFormat)},
		},
	}
	switch {
	case p.anonymous:
		r.nobody = "asked anonymously, as the URI says"
		return r, nil
	case base != own.endpoint && !isAzure(base, p.account) && !isEmulator(own):
		r.nobody = "asked anonymously: credentials are only sent to Azure's hosts of the account, and to the endpoint in " + connectionVariable
		return r, nil
	case own.key != nil:
		err = r.sign(own, method, byteRange)
		return r, err
	case own.sas != "":
		r.withSAS(own.sas)
		return r, nil
	case !strings.HasPrefix(base, "https://"):
		r.nobody = "asked anonymously: tokens are only sent over https"
		return r, nil
	}
	err = f.asIdentity(ctx, uri, &r)
	return r, err
}

// base returns the URL of the account's blob service, own being what the
// environment says of the account.
func (p place) base(own storage) string {
	switch {
	case p.endpoint != "":
		return p.endpoint
	case own.endpoint != "":
		return own.endpoint
	}
	return "https://" + p.account + ".blob.core.windows.net"
}

// sign makes r one with a signature by the account's key.
func (r *request) sign(own storage, method, byteRange string) error {
	r.who = "is the account's key right, and this machine's clock?"
	var err error
	r.authorization, err = signature(own.account, own.key, method, r.url, byteRange, r.header)
	_, sig, _ := strings.Cut(r.authorization, ":")
	r.secrets = []string{sig}
	return err
}

// withSAS makes r one with a SAS token.
func (r *request) withSAS(sas string) {
	r.who = "is the SAS token for this container, with read permission, and not expired?"
	r.url += "?" + sas
	r.secrets = []string{sas}
	if query, err := url.ParseQuery(sas); err == nil {
		r.secrets = append(r.secrets, query.Get("sig"), url.QueryEscape(query.Get("sig")))
	}
}

// asIdentity makes r one with a token of Entra ID, where there is one.
func (f files) asIdentity(ctx context.Context, uri string, r *request) error {
	token, err := f.token(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case errors.Is(err, transport.ErrTemporary):
		return transport.Errorf(transport.ErrTemporary, objectstore.Shown(uri), "Azure credentials: %w", err)
	case err != nil:
		return transport.Errorf(transport.ErrUnauthorized, objectstore.Shown(uri), "Azure credentials: %w; for a public container add anonymous=true", err)
	case token == "":
		r.nobody = "asked anonymously, for there are no Azure credentials here; run 'az login' or set " + connectionVariable
		return nil
	}
	r.authorization = "Bearer " + token
	r.who = "the identity in use needs the role Storage Blob Data Reader on the container"
	return nil
}
