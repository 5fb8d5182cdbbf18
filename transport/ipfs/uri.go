package ipfs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

// The schemes of the URIs of this transport's routes.
const (
	SchemeIPFS  = "ipfs"
	SchemeIPNS  = "ipns"
	SchemeHTTPS = "ipfs+https"
	SchemeHTTP  = "ipfs+http"
)

// Caps on names.
const (
	// maxURI bounds a URI, in bytes.
	maxURI = 8 << 10
	// maxSegments bounds the directories in a path.
	maxSegments = 100
	// maxSegment bounds a name in a directory, in bytes: what file systems
	// take.
	maxSegment = 255
)

// place is what a URI names: content by CID, by a name, or a gateway. Exactly
// one of root, name and gateway is set; or root and gateway, for content to be had
// of that gateway only.
type place struct {
	uri     string
	root    cid.Cid
	name    string // of IPNS, or a domain
	path    []string
	gateway *endpoint
	floor   netclass.Class // how near gateway may be
}

// anyBlob reports whether the place is a gateway that may have any blob.
func (p *place) anyBlob() bool { return p.gateway != nil && !p.root.Defined() }

// endpoint is a gateway or router as it is written: an http or https URL, and
// the credentials that were in it.
type endpoint struct {
	base          string // without a slash at the end
	authorization string
}

// Check says what is wrong with a URI of this package's schemes, without asking
// anybody. It is [transport.ErrPermanent].
func Check(uri string) error {
	_, err := parsePlace(uri)
	return err
}

// parsePlace reads a URI. Its error is a [*transport.Error].
func parsePlace(uri string) (*place, error) {
	fail := func(format string, args ...any) (*place, error) {
		return nil, transport.Errorf(transport.ErrPermanent, shownURI(uri), format, args...)
	}
	if len(uri) > maxURI {
		return nil, transport.Errorf(transport.ErrPermanent, SchemeIPFS+":…", "URI of more than %d bytes", maxURI)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return fail("malformed URI")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fail("query and fragment mean nothing here; percent-encode '?' and '#' in a path")
	}
	p := &place{uri: uri}
	switch u.Scheme {
	case SchemeHTTPS, SchemeHTTP:
		if err := p.parseGateway(u); err != nil {
			return fail("%w", err)
		}
		return p, nil
	case SchemeIPFS, SchemeIPNS:
	default:
		return fail("scheme %q is none of %s, %s, %s and %s", u.Scheme, SchemeIPFS, SchemeIPNS, SchemeHTTPS, SchemeHTTP)
	}
	if u.Opaque != "" || u.Host == "" || u.User != nil {
		return fail("write %s://%s[/PATH]", u.Scheme, map[string]string{SchemeIPFS: "CID", SchemeIPNS: "NAME"}[u.Scheme])
	}
	if p.path, err = splitPath(u.Path); err != nil {
		return fail("%w", err)
	}
	if u.Scheme == SchemeIPNS {
		if p.name, err = parseName(u.Host); err != nil {
			return fail("%w", err)
		}
		return p, nil
	}
	if p.root, err = parseCID(u.Host); err != nil {
		return fail("%w", err)
	}
	return p, nil
}

// parseGateway reads the URI of a gateway, or of content at one:
// GATEWAY[/BASE]/ipfs/CID[/PATH].
func (p *place) parseGateway(u *url.URL) error {
	gateway := strings.TrimPrefix(p.uri, "ipfs+")
	base, content, found := strings.Cut(u.Path, "/ipfs/")
	if found {
		at := url.URL{Scheme: strings.TrimPrefix(u.Scheme, "ipfs+"), User: u.User, Host: u.Host, Path: base}
		gateway = at.String()
	}
	var err error
	if p.gateway, err = parseEndpoint(gateway); err != nil {
		return fmt.Errorf("%w; write %s://GATEWAY", err, u.Scheme)
	}
	if found {
		root, path, _ := strings.Cut(content, "/")
		if p.root, err = parseCID(root); err == nil {
			p.path, err = splitPath(path)
		}
	}
	return err
}

// shownURI returns uri fit to be shown also where it isn't one.
func shownURI(uri string) string {
	if _, err := url.Parse(uri); err != nil {
		scheme, _, _ := strings.Cut(transport.Redact(uri), ":")
		return scheme + ":…"
	}
	return uri
}

// parseEndpoint reads the URL of a gateway or a router.
func parseEndpoint(s string) (*endpoint, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The parser's error quotes the URL, with the password in it.
		return nil, errors.New("malformed URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("not an http or https URL")
	case u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("no host in the URL")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("a query or fragment in the URL")
	}
	e := &endpoint{}
	if u.User != nil {
		password, _ := u.User.Password()
		e.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		u.User = nil
	}
	// kubo redirects what is asked of localhost to CID.ipfs.localhost, a
	// name for browsers that most resolvers don't know.
	if u.Scheme == "http" && strings.EqualFold(u.Hostname(), "localhost") {
		u.Host = strings.TrimSuffix("127.0.0.1:"+u.Port(), ":")
	}
	e.base = strings.TrimRight(u.String(), "/")
	return e, nil
}

// parseName reads the NAME of ipns://NAME: an IPNS key in any of its forms, or
// a domain name for DNSLink.
func parseName(s string) (string, error) {
	if n, err := ipns.NameFromString(s); err == nil {
		return n.String(), nil
	}
	if !isDomain(s) {
		return "", fmt.Errorf("%q is neither an IPNS key nor a domain name", s)
	}
	return strings.ToLower(strings.TrimSuffix(s, ".")), nil
}

// isDomain reports whether s is a fully qualified domain name (RFC 1123 §2.1),
// underscores allowed as DNSLink is.
func isDomain(s string) bool {
	s = strings.TrimSuffix(s, ".")
	labels := strings.Split(s, ".")
	if len(s) > 253 || len(labels) < 2 {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, r := range l {
			if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	return true
}

// splitPath returns the names in a path that was percent-decoded.
func splitPath(p string) ([]string, error) {
	p = strings.Trim(p, "/")
	if p == "" {
		return nil, nil
	}
	segments := strings.Split(p, "/")
	if len(segments) > maxSegments {
		return nil, fmt.Errorf("more than %d directories in the path", maxSegments)
	}
	for _, s := range segments {
		if err := checkSegment(s); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

// checkSegment reports what is wrong with a name in a directory.
func checkSegment(s string) error {
	switch {
	case s == "" || s == "." || s == "..", strings.ContainsAny(s, "/\x00"):
		return fmt.Errorf("%q is not the name of a file", s)
	case len(s) > maxSegment:
		return fmt.Errorf("a name of more than %d bytes", maxSegment)
	}
	return nil
}

// below returns the path of a clean relative path below the place.
func (p *place) below(name string) ([]string, error) {
	more, err := splitPath(path.Clean(name))
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, p.uri, "%w", err)
	}
	return append(append([]string(nil), p.path...), more...), nil
}
