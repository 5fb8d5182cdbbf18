package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/objectstore"
)

const (
	// scope is all that is asked for: reading.
	scope = "https://www.googleapis.com/auth/devstorage.read_only"
	// credentialsVariable names a file of credentials.
	credentialsVariable = "GOOGLE_APPLICATION_CREDENTIALS"
	// maxCredentials is the largest file of credentials that is read, in bytes.
	maxCredentials = 1 << 20
	// metadataTimeout is how long the metadata server is given to show that it
	// is there. It is on the machine's own link and answers in milliseconds;
	// elsewhere its address leads nowhere.
	metadataTimeout = 2 * time.Second
)

// defaultCredentials are the Application Default Credentials of the
// environment.
type defaultCredentials struct {
	getenv func(string) string
}

// token gets a token: with the file of credentials where there is one, else
// from the metadata server where that is there.
func (d defaultCredentials) token(ctx context.Context) (objectstore.Token, error) {
	path, named := d.file()
	content, err := readCredentials(path)
	switch {
	case err == nil:
		return fileToken(ctx, path, content)
	case named || !errors.Is(err, os.ErrNotExist):
		return objectstore.Token{}, err
	}
	return metadataToken(ctx)
}

// file returns the path of the file of credentials, and whether the user named
// it (then it must be there).
func (d defaultCredentials) file() (path string, named bool) {
	if path := d.getenv(credentialsVariable); path != "" {
		return path, true
	}
	const name = "application_default_credentials.json"
	switch dir := d.getenv("CLOUDSDK_CONFIG"); {
	case dir != "":
		return filepath.Join(dir, name), false
	case runtime.GOOS == "windows":
		return filepath.Join(d.getenv("APPDATA"), "gcloud", name), false
	}
	return filepath.Join(d.getenv("HOME"), ".config", "gcloud", name), false
}

func readCredentials(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxCredentials {
		return nil, fmt.Errorf("%s is larger than the limit of %d bytes", path, maxCredentials)
	}
	return content, nil
}

// fileToken gets a token with the credentials in a file. It is read anew for
// each, since keys are rotated.
func fileToken(ctx context.Context, path string, content []byte) (objectstore.Token, error) {
	var kind struct{ Type google.CredentialsType }
	if err := json.Unmarshal(content, &kind); err != nil {
		// The parser's error may quote the content.
		return objectstore.Token{}, fmt.Errorf("%s is not JSON", path)
	}
	// The library's requests have no other bound, and its errors don't tell a
	// network that failed from credentials that did.
	network := newWatched()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Timeout: objectstore.TokenTimeout, Transport: network})
	credentials, err := google.CredentialsFromJSONWithType(ctx, content, kind.Type, scope)
	if err != nil {
		return objectstore.Token{}, fmt.Errorf("%s: %s", path, httpclient.OneLine(err.Error()))
	}
	token, err := credentials.TokenSource.Token()
	if err != nil {
		return objectstore.Token{}, tokenError(path, err, network.failed.Load())
	}
	return objectstore.Token{Value: token.AccessToken, Expires: token.Expiry}, nil
}

// watched is an [http.RoundTripper] that remembers that it failed. It keeps no
// connections: there is a request or two an hour.
type watched struct {
	*http.Transport
	failed atomic.Bool
}

func newWatched() *watched {
	return &watched{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
}

// RoundTrip implements [http.RoundTripper].
func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.Transport.RoundTrip(r)
	if err != nil || resp.StatusCode >= 500 {
		w.failed.Store(true)
	}
	return resp, err
}

// tokenError says that there is no token for a file of credentials: since the
// token server can't be asked now, or since it gives none for these.
func tokenError(path string, err error, unreachable bool) error {
	text := httpclient.OneLine(err.Error())
	if unreachable {
		return fmt.Errorf("%w: %s: no token: %s", transport.ErrTemporary, path, text)
	}
	return fmt.Errorf("%s: no token: %s", path, text)
}

// metadataToken gets a token of the machine's service account. Where there is
// no metadata server, or the machine has no account, that is [objectstore.Nobody].
func metadataToken(ctx context.Context) (objectstore.Token, error) {
	client := metadata.NewClient(&http.Client{
		Timeout:   objectstore.TokenTimeout,
		Transport: &http.Transport{DisableKeepAlives: true}, // one request an hour; and no proxy
	})
	probe, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	if !client.OnGCEWithContext(probe) {
		return objectstore.Nobody(), nil
	}
	answer, err := client.GetWithContext(ctx, "instance/service-accounts/default/token?"+url.Values{"scopes": {scope}}.Encode())
	var undefined metadata.NotDefinedError
	switch {
	case errors.As(err, &undefined):
		return objectstore.Nobody(), nil
	case err != nil:
		return objectstore.Token{}, fmt.Errorf("%w: metadata server: %s", transport.ErrTemporary, httpclient.OneLine(err.Error()))
	}
	return parseMetadataToken([]byte(answer), time.Now())
}

// parseMetadataToken reads the metadata server's answer (RFC 6749 §5.1), got at
// the time now.
func parseMetadataToken(answer []byte, now time.Time) (objectstore.Token, error) {
	var token struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // in seconds
	}
	if err := json.Unmarshal(answer, &token); err != nil || token.AccessToken == "" || token.ExpiresIn < 0 {
		// The answer is not quoted: it may hold a token.
		return objectstore.Token{}, fmt.Errorf("%w: metadata server: malformed token", transport.ErrTemporary)
	}
	const day = 24 * 60 * 60
	return objectstore.Token{
		Value:   token.AccessToken,
		Expires: now.Add(time.Duration(min(token.ExpiresIn, day)) * time.Second),
	}, nil
}
