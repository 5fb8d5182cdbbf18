package objectstore

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/waybill-project/waybill/transport"
)

// Form is how a store's URIs are written:
//
//	SCHEME://HOST/PATH[?endpoint=URL&anonymous=true]
//
// and what else stands in their query. It makes the errors of all that is written
// otherwise.
type Form struct {
	// Scheme is that of the URIs, Written an example of one.
	Scheme, Written string
	// Names is what a URI names: "bucket".
	Names string
	// Credentials is the environment variable to look up where a URI holds some.
	Credentials string
	// Params are the parameters of the store's own.
	Params []string
	// Secrets are parameters that hold secrets in the URLs that the store's own
	// tools make, and what to do instead.
	Secrets map[string]string
}

// Place is what a URI says before the store reads what is its own in it.
type Place struct {
	// Host and Path are the URI's, the latter decoded.
	Host, Path string
	// Endpoint is the URL of the store, as [Endpoint] returns it, or empty where
	// the URI names none.
	Endpoint string
	// Anonymous says that no credentials are to be sent.
	Anonymous bool
	// Params are the store's own.
	Params map[string]string
}

// The parameters that all stores have.
const (
	paramEndpoint  = "endpoint"
	paramAnonymous = "anonymous"
)

// Parse reads a URI.
func (f Form) Parse(uri string) (Place, error) {
	p, err := f.parse(uri)
	if err != nil {
		return Place{}, f.Errorf(uri, "%w", err)
	}
	return p, nil
}

// Errorf returns the error for a URI that can't be used. What in it may be secret
// isn't shown.
func (f Form) Errorf(uri, format string, args ...any) error {
	return transport.Errorf(transport.ErrPermanent, Shown(uri), format, args...)
}

func (f Form) parse(uri string) (Place, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		// The parser's error quotes the URI, where secrets may stand.
		return Place{}, fmt.Errorf("malformed URI; write %s", f.Written)
	case u.Scheme != f.Scheme || u.Opaque != "":
		return Place{}, fmt.Errorf("not a %s's URI; write %s", f.Names, f.Written)
	case u.User != nil:
		return Place{}, fmt.Errorf("holds user information; credentials come from the environment, see %s", f.Credentials)
	case u.Fragment != "":
		return Place{}, errors.New("holds a fragment; percent-encode '#' in PREFIX")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Place{}, errors.New("malformed query; percent-encode '?' in PREFIX")
	}
	p := Place{Host: u.Host, Path: u.Path, Params: map[string]string{}}
	for key, values := range query {
		if len(values) > 1 {
			return Place{}, fmt.Errorf("%s is given twice", key)
		}
		if err := f.setParam(&p, key, values[0]); err != nil {
			return Place{}, err
		}
	}
	return p, nil
}

// setParam sets what a parameter of the query says. Errors name it and never what
// it is set to, which may be a signature.
func (f Form) setParam(p *Place, key, value string) error {
	var err error
	switch {
	case key == paramEndpoint:
		if p.Endpoint, err = Endpoint(value); err != nil {
			return fmt.Errorf("endpoint: %w", err)
		}
	case key == paramAnonymous && value != "true" && value != "false":
		return errors.New("anonymous is true or false")
	case key == paramAnonymous:
		p.Anonymous = value == "true"
	case slices.Contains(f.Params, key):
		p.Params[key] = value
	case f.Secrets[key] != "":
		return errors.New(f.Secrets[key])
	default:
		known := slices.Concat([]string{paramEndpoint}, f.Params)
		return fmt.Errorf("unknown parameter %q; there are %s and %s", key, strings.Join(known, ", "), paramAnonymous)
	}
	return nil
}
