package s3

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// newSigner returns a signer by Signature Version 4 as S3 wants it: the path is
// escaped once, by address, and not again. It remembers keys it derived by the
// id of the access key alone, so each account has its own.
func newSigner() *v4.Signer {
	return v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
}

// noContent is the hash of what a GET sends.
var noContent = func() string {
	sum := sha256.Sum256(nil)
	return hex.EncodeToString(sum[:])
}()

// sign returns what signs a request with creds for region at the time that now
// returns. The signature covers the host, the path and S3's own headers, and not what
// proxies may rewrite on the way (Accept-Encoding, Range).
func sign(signer *v4.Signer, creds aws.Credentials, region string, now func() time.Time) func(*http.Request) error {
	return func(r *http.Request) error {
		bare := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: http.Header{"X-Amz-Content-Sha256": {noContent}}}
		if err := signer.SignHTTP(r.Context(), creds, bare, noContent, "s3", region, now()); err != nil {
			return err
		}
		for name, values := range bare.Header {
			r.Header[name] = values
		}
		return nil
	}
}

// unsigned is the sign of a request without credentials. That there is one
// keeps redirects from being followed.
func unsigned(*http.Request) error { return nil }
