package s3

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "s3"

// maxKey is the longest key an object may have, in bytes of UTF-8 (Amazon S3
// User Guide, "Naming Amazon S3 objects").
const maxKey = 1024

// maxURI bounds a place's URI: a key, percent-encoded, and its parameters.
const maxURI = 8 << 10

// style is where in a URL the bucket stands.
type style int

const (
	styleAuto    style = iota
	stylePath          // https://ENDPOINT/BUCKET/KEY
	styleVirtual       // https://BUCKET.ENDPOINT/KEY
)

// place is what a URI says.
type place struct {
	bucket, prefix string
	endpoint       *url.URL // nil: what the environment says, or Amazon's
	region         string   // "" the same
	style          style
	profile        string // "" the default one
	anonymous      bool
}

// parsePlace reads a place's URI. Its errors quote no part of the query, where
// somebody may have put a secret.
func parsePlace(uri string) (place, error) {
	if len(uri) > maxURI {
		return place{}, fmt.Errorf("URI is longer than %d bytes", maxURI)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return place{}, errors.New("not a URI: write s3://BUCKET/PREFIX, with '%', '?' and '#' percent-encoded in PREFIX")
	}
	switch {
	case u.Scheme != Scheme || u.Opaque != "":
		return place{}, errors.New("not of the form s3://BUCKET/PREFIX")
	case u.User != nil:
		return place{}, errors.New("keys don't belong in the URI; name a profile of the shared files with ?profile=NAME, or use the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)")
	case u.Port() != "" || strings.Contains(u.Host, ":"):
		return place{}, errors.New("a bucket has no port; the server goes into ?endpoint=http://HOST:PORT")
	case u.Fragment != "":
		return place{}, errors.New("a fragment means nothing here; percent-encode '#' in the prefix")
	}
	p := place{bucket: u.Host, prefix: strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/")}
	if err := checkBucket(p.bucket); err != nil {
		return place{}, err
	}
	if err := checkKey(p.prefix); err != nil {
		return place{}, err
	}
	return p, p.parameters(u.RawQuery)
}

// checkBucket reports what can't be a bucket's name. Other servers are less
// strict than Amazon, and so was it once.
func checkBucket(name string) error {
	const most = 255
	switch {
	case name == "":
		return errors.New("no bucket: write s3://BUCKET/PREFIX")
	case len(name) > most:
		return fmt.Errorf("bucket name is longer than %d bytes", most)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "",
		name == ".", name == "..":
		return errors.New("a bucket's name has only letters, digits, '-', '_' and '.'")
	case strings.HasSuffix(name, "--x-s3"):
		return errors.New("directory buckets (S3 Express One Zone) have another protocol, which isn't spoken here")
	}
	return nil
}

// checkKey reports what can't be an object's key, or the start of one. Dots
// would be resolved by servers and proxies on the way, and the key be another.
func checkKey(key string) error {
	switch {
	case len(key) > maxKey:
		return fmt.Errorf("the key would be longer than S3's limit of %d bytes", maxKey)
	case !utf8.ValidString(key):
		return errors.New("the prefix is not UTF-8")
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the prefix has control characters")
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("the prefix has a segment %q", segment)
		}
	}
	return nil
}

// parameterNames lists the parameters there are.
var parameterNames = []string{"endpoint", "region", "style", "profile", "anonymous"}

// parameters reads the query.
func (p *place) parameters(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("malformed parameters after '?'; percent-encode '&', ';', '%' and '#' in their values")
	}
	for name, v := range values {
		switch {
		case !slices.Contains(parameterNames, name):
			return fmt.Errorf("unknown parameter %.40q; there are %s", name, strings.Join(parameterNames, ", "))
		case len(v) > 1:
			return fmt.Errorf("parameter %q is given twice", name)
		case v[0] == "":
			return fmt.Errorf("parameter %q is empty", name)
		}
	}
	p.profile = values.Get("profile")
	if v := values.Get("endpoint"); v != "" {
		if p.endpoint, err = parseEndpoint(v); err != nil {
			return fmt.Errorf("parameter \"endpoint\": %w", err)
		}
	}
	if p.region = values.Get("region"); p.region != "" && !validRegion(p.region) {
		return errors.New("parameter \"region\" is not a region; one is like eu-central-1, or auto")
	}
	switch values.Get("style") {
	case "":
	case "path":
		p.style = stylePath
	case "virtual":
		p.style = styleVirtual
	default:
		return errors.New("parameter \"style\" is path or virtual")
	}
	if err := p.checkStyle(p.endpoint); err != nil {
		return err
	}
	switch values.Get("anonymous") {
	case "", "false":
	case "true":
		p.anonymous = true
	default:
		return errors.New("parameter \"anonymous\" is true or false")
	}
	if p.anonymous && p.profile != "" {
		return errors.New("parameters \"anonymous\" and \"profile\" contradict each other")
	}
	return nil
}

// key returns the key of the object name below the place.
func (p *place) key(name string) (string, error) {
	if p.prefix != "" {
		name = p.prefix + "/" + name
	}
	return name, checkKey(name)
}

// shownURI returns the URI of an object for messages.
func (p *place) shownURI(key string) string {
	return (&url.URL{Scheme: Scheme, Host: p.bucket, Path: "/" + key}).String()
}

// schemeOnly stands in errors about URIs that can't be read.
const schemeOnly = Scheme + "://…"
