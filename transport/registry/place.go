package registry

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// PlainHTTP says whether a place may be asked over plain http.
type PlainHTTP string

// What it says. Empty leaves it to [Options].PlainHTTP.
const (
	// Allowed: where the place does not speak TLS.
	Allowed PlainHTTP = "allowed"
	// Only: TLS isn't tried.
	Only PlainHTTP = "only"
)

// Place says where and how a registry, or a mirror of one, is asked. All but the
// host stands in the query of a route's URI:
//
//	docker://HOST/REPO?ns=NAMESPACE&base=PATH&plain-http=allowed|only&insecure=true
//
// Places are comparable, and those that differ share no tokens. A URI from a
// remote document should have no such query: see [Plain].
type Place struct {
	// Host is HOST or HOST:PORT, lower case.
	Host string
	// Base is the path of the API in place of "/v2": absolute, clean,
	// percent-encoded, or "/" for none. Empty means "/v2".
	Base string
	// NS is the registry (HOST or HOST:PORT) whose images a mirror is asked for,
	// sent as ?ns= with every request, as containerd does. Empty sends none.
	NS string
	// PlainHTTP says whether it may be asked without TLS.
	PlainHTTP PlainHTTP
	// Insecure says that its certificate need not be verified. It only selects
	// the client that [Options].HTTPFor returns.
	Insecure bool
}

// The parameters of a URI's query.
const (
	paramNS       = "ns"
	paramBase     = "base"
	paramPlain    = "plain-http"
	paramInsecure = "insecure"
)

// maxBase bounds the length of a Base.
const maxBase = 1024

// baseChars are what a Base is made of (RFC 3986 §3.3, path-absolute).
var baseChars = regexp.MustCompile(`^/(?:[A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*$`)

// URI returns the URI of a repository at p, for the URI of a route.
func (p Place) URI(repository string) string {
	uri := scheme + p.Host + "/" + repository
	q := url.Values{}
	for _, param := range []struct{ name, value string }{
		{paramNS, p.NS}, {paramBase, p.Base}, {paramPlain, string(p.PlainHTTP)},
	} {
		if param.value != "" {
			q.Set(param.name, param.value)
		}
	}
	if p.Insecure {
		q.Set(paramInsecure, "true")
	}
	if len(q) > 0 {
		// A slash and a colon may stand in a query, and read better.
		uri += "?" + strings.NewReplacer("%2F", "/", "%3A", ":").Replace(q.Encode())
	}
	return uri
}

// Plain reports whether a docker:// URI says where to ask and nothing of how,
// as one from somewhere else has to: it may not say that certificates need not
// be verified, nor send a request to any path of a host.
func Plain(uri string) bool { return !strings.Contains(uri, "?") }

// Server returns the host to ask, which differs from Host for Docker Hub.
func (p Place) Server() string {
	if p.Host == hub || p.Host == "index."+hub {
		return hubServer
	}
	return p.Host
}

// api returns the path of the API, without a slash at the end.
func (p Place) api() string {
	switch p.Base {
	case "":
		return "/v2"
	case "/":
		return ""
	}
	return p.Base
}

// setQuery sets what the query of a URI says.
func (r *repository) setQuery(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return malformed(scheme+r.Host, "malformed query in the URI")
	}
	for name, values := range q {
		if len(values) != 1 {
			return malformed(scheme+r.Host, "parameter %q stands in the URI more than once", name)
		}
		if err := r.setParam(name, values[0]); err != nil {
			return err
		}
	}
	return nil
}

// setParam sets what one parameter says.
func (r *repository) setParam(name, value string) error {
	switch name {
	case paramNS:
		ns := strings.ToLower(value)
		if u, err := url.Parse("https://" + ns); err != nil || u.Host != ns || u.Hostname() == "" {
			return malformed(scheme+r.Host, "malformed namespace in the URI; want ns=HOST or ns=HOST:PORT")
		}
		r.NS = ns
	case paramBase:
		if len(value) > maxBase || !baseChars.MatchString(value) || path.Clean(value) != value || hasDots(value) {
			return malformed(scheme+r.Host, "malformed base path in the URI; want an absolute one without dot segments, of at most %d bytes", maxBase)
		}
		r.Base = value
		if value == "/v2" {
			r.Base = ""
		}
	case paramPlain:
		if r.PlainHTTP = PlainHTTP(value); r.PlainHTTP != Allowed && r.PlainHTTP != Only {
			return malformed(scheme+r.Host, "%s in the URI is neither %s nor %s", paramPlain, Allowed, Only)
		}
	case paramInsecure:
		if value != "true" {
			return malformed(scheme+r.Host, "%s in the URI is not true", paramInsecure)
		}
		r.Insecure = true
	default:
		return malformed(scheme+r.Host, "unknown parameter %q in the URI; there are %s", name, strings.Join([]string{paramNS, paramBase, paramPlain, paramInsecure}, ", "))
	}
	return nil
}

// hasDots reports whether a path has a dot segment, encoded or not, that a
// server could take for a step.
func hasDots(p string) bool {
	decoded, err := url.PathUnescape(p)
	return err != nil || slices.ContainsFunc(strings.FieldsFunc(decoded, func(r rune) bool { return r == '/' || r == '\\' }),
		func(segment string) bool { return segment == "." || segment == ".." })
}
