package gcs

import (
	"strings"

	"github.com/waybill-project/waybill/transport/objectstore"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "gs"

// form is how a URI is written.
var form = objectstore.Form{
	Scheme: Scheme, Written: "gs://BUCKET/PREFIX", Names: "bucket", Credentials: "GOOGLE_APPLICATION_CREDENTIALS",
}

// place is what a URI names.
type place struct {
	bucket, prefix string
	// endpoint is the URL of the store, or empty where the URI names none.
	endpoint  string
	anonymous bool
}

// parsePlace parses gs://BUCKET/PREFIX[?endpoint=URL&anonymous=true].
func parsePlace(uri string) (place, error) {
	u, err := form.Parse(uri)
	if err != nil {
		return place{}, err
	}
	p := place{bucket: u.Host, endpoint: u.Endpoint, anonymous: u.Anonymous}
	if !validBucket(p.bucket) {
		return place{}, form.Errorf(uri, "%q is no name of a bucket; write %s", p.bucket, form.Written)
	}
	if p.prefix, err = objectstore.Prefix(u.Path); err != nil {
		return place{}, form.Errorf(uri, "%w", err)
	}
	return p, nil
}

// validBucket reports whether s can be the name of a bucket: 3 to 222 letters,
// digits, '-', '_' and '.', the first and last of them a letter or digit.
func validBucket(s string) bool {
	const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
	return len(s) >= 3 && len(s) <= 222 &&
		strings.Trim(s, alphanumeric+"-_.") == "" &&
		strings.Trim(s[:1]+s[len(s)-1:], alphanumeric) == ""
}
