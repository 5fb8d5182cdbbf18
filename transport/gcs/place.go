package gcs

import (
	"net/url"
	"strings"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "gs"

// form is how a URI is written, for errors.
const form = "write gs://BUCKET/PREFIX"

// place is what a URI names.
type place struct {
	bucket, prefix string
	// endpoint is the URL of the store, or empty where the URI names none.
	endpoint  string
	anonymous bool
}

// parsePlace parses gs://BUCKET/PREFIX[?endpoint=URL&anonymous=true].
func parsePlace(uri string) (place, error) {
	fail := func(format string, args ...any) (place, error) {
		return place{}, transport.Errorf(transport.ErrPermanent, objectstore.Shown(uri), format, args...)
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		// The parser's error quotes the URI, where secrets may stand.
		return fail("malformed URI; %s", form)
	case u.Scheme != Scheme || u.Opaque != "":
		return fail("not a bucket's URI; %s", form)
	case u.User != nil:
		return fail("holds user information; credentials come from the environment, see GOOGLE_APPLICATION_CREDENTIALS")
	case u.Fragment != "":
		return fail("holds a fragment; percent-encode '#' in PREFIX")
	case !validBucket(u.Host):
		return fail("%q is no name of a bucket; %s", u.Host, form)
	}
	p := place{bucket: u.Host}
	if p.prefix, err = objectstore.Prefix(u.Path); err != nil {
		return fail("%w", err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail("malformed query; percent-encode '?' in PREFIX")
	}
	for key, values := range query {
		value := values[0]
		switch {
		case len(values) > 1:
			return fail("%s is given twice", key)
		case key == "endpoint":
			if p.endpoint, err = objectstore.Endpoint(value); err != nil {
				return fail("endpoint: %w", err)
			}
		case key == "anonymous" && (value == "true" || value == "false"):
			p.anonymous = value == "true"
		case key == "anonymous":
			return fail("anonymous is true or false")
		default:
			// Its name may be shown; the value may be a signature.
			return fail("unknown parameter %q; there are endpoint and anonymous", key)
		}
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
