package mirrors

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-project/waybill/transport/registry"
)

// Kind is the tool whose file speaks of an endpoint.
type Kind string

// The kinds, in the order in which they are asked.
const (
	Containers Kind = "containers"
	Containerd Kind = "containerd"
	Docker     Kind = "docker"
)

// Endpoint is one place to ask for a repository.
type Endpoint struct {
	// Kind is the tool and From the FILE:LINE that say so. Both are empty for
	// the registry itself where no file speaks of it.
	Kind Kind
	From string
	// Mirror is false for the registry itself, or what replaces it.
	Mirror bool

	// Scheme is https or http, Host is HOST or HOST:PORT. HTTPFallback says that
	// plain http may be tried where Host doesn't speak TLS.
	Scheme, Host string
	HTTPFallback bool
	// Base is the path of the API in place of /v2: absolute and percent-encoded,
	// "/" for none. Empty means /v2.
	Base string
	// Repository may be another than the one asked for.
	Repository string
	// NS is sent as ?ns= with every request. Empty means that none is.
	NS string

	// Resolve says that what it answers for a tag counts, Pull that content is
	// read from it. At least one is set.
	Resolve, Pull bool
	// DigestOnly endpoints aren't asked for tags; TagOnly ones aren't asked for
	// images that are named by their digest.
	DigestOnly, TagOnly bool

	// Insecure says that its certificate need not be verified.
	Insecure bool
	// CAs are files of authorities trusted beside the system's (PEM).
	CAs []string
	// ClientCerts are files of a certificate to show and of its key, empty where
	// that is in the same file (PEM).
	ClientCerts [][2]string
	// Header is sent with every request to Host, and nowhere else. It may hold
	// secrets.
	Header http.Header
	// DialTimeout bounds the making of a connection; 0 leaves it as it is.
	DialTimeout time.Duration
}

// AnswersTags reports whether e may be asked what a tag means.
func (e Endpoint) AnswersTags() bool { return e.Resolve && !e.DigestOnly }

// Answers reports whether e may be asked what a name means, one with a digest or
// else one with a tag. For a digest that is the manifest, content like any other.
func (e Endpoint) Answers(namedByDigest bool) bool {
	if namedByDigest {
		return e.ServesContent(true)
	}
	return e.AnswersTags()
}

// ServesContent reports whether blobs and manifests may be asked of e by their
// digests, for an image that was named by its digest or else by a tag. A mirror
// for digests alone may serve an image that was named by a tag, once somebody
// else said what that means: what is asked for are digests then.
func (e Endpoint) ServesContent(namedByDigest bool) bool {
	return e.Pull && !(namedByDigest && e.TagOnly)
}

// Place returns how package transport/registry asks e.
func (e Endpoint) Place() registry.Place {
	p := registry.Place{Host: e.Host, Base: e.Base, NS: e.NS, Insecure: e.Insecure}
	switch {
	case e.Scheme == "http":
		p.PlainHTTP = registry.Only
	case e.HTTPFallback:
		p.PlainHTTP = registry.Allowed
	}
	return p
}

// URI returns the URI of a route to e's repository. It is docker://HOST/REPO
// where there is nothing more to say, and holds no secret.
func (e Endpoint) URI() string { return e.Place().URI(e.Repository) }

// HasSettings reports whether e needs an HTTP client of its own.
func (e Endpoint) HasSettings() bool {
	return e.Insecure || len(e.CAs) > 0 || len(e.ClientCerts) > 0 || len(e.Header) > 0 || e.DialTimeout > 0
}

// same is what endpoints that are one place have in common. Whether certificates
// are verified there is for the first one to say.
type same struct {
	scheme, host, base, repository, ns string
}

func (e Endpoint) same() same {
	return same{e.Scheme, e.Host, e.Base, e.Repository, e.NS}
}

// hub is Docker Hub as names have it.
const hub = "docker.io"

// canonicalHost returns a host as names have it: lower case, and Docker Hub by
// one name.
func canonicalHost(host string) string {
	switch host = strings.ToLower(host); host {
	case "index." + hub, "registry-1." + hub:
		return hub
	}
	return host
}

// isHost reports whether s is HOST or HOST:PORT, and the same in a URL.
func isHost(s string) bool {
	u, err := url.Parse("https://" + s)
	return err == nil && u.Host == s && u.Hostname() != ""
}

// canonicalBase returns an absolute path as [Endpoint].Base.
func canonicalBase(path string) string {
	switch path {
	case "":
		return "/"
	case "/v2":
		return ""
	}
	return path
}
