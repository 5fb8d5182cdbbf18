package registry

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/transport"
)

const (
	// hub is what Docker Hub is called in names, hubServer where it is.
	hub       = "docker.io"
	hubServer = "registry-1.docker.io"

	// maxRepository bounds a repository's name (distribution-spec, "Pulling
	// manifests").
	maxRepository = 255
	scheme        = "docker://"
)

var (
	// repositoryName and tagName are the distribution-spec's.
	repositoryName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// repository is a repository at a registry, both known to be well-formed.
type repository struct {
	Place
	name string
	// remote is a route's: what is learnt of a place somebody else named, and
	// the tokens obtained there, are used for no other.
	remote transport.Remote
}

// uri returns the repository as a route names it.
func (r repository) uri() string { return r.URI(r.name) }

// path returns the path and query of an end point of the repository
// (distribution-spec, "Endpoints"): "blobs" or "manifests", and a reference.
func (r repository) path(kind, reference string) string {
	path := r.api() + "/" + r.name + "/" + kind + "/" + reference
	if r.NS != "" {
		path += "?" + url.Values{paramNS: {r.NS}}.Encode()
	}
	return path
}

// scope returns the scope of a token for reading (distribution token
// specification, "Token scope documentation").
func (r repository) scope() string { return "repository:" + r.name + ":pull" }

// newRepository checks a host and a repository name. They go into URLs, so
// nothing passes that could mean anything else there.
func newRepository(host, name string) (repository, error) {
	r := repository{Place: Place{Host: strings.ToLower(host)}, name: name}
	u, err := url.Parse("https://" + host)
	switch {
	case err != nil, u.Host != host, u.Hostname() == "":
		return repository{}, malformed(scheme+"…", "malformed registry name; want HOST or HOST:PORT")
	case len(name) > maxRepository:
		return repository{}, malformed(scheme+r.Host, "repository name is longer than %d bytes", maxRepository)
	case !repositoryName.MatchString(name):
		return repository{}, malformed(scheme+r.Host, "malformed repository name %q; want lower-case path components", name)
	}
	if r.Host == hub && !strings.Contains(name, "/") {
		r.name = "library/" + name
	}
	return r, nil
}

// parseURI returns the repository of docker://HOST[:PORT]/REPO[:TAG][@DIGEST],
// with the query of a [Place] behind it. Tag and digest say what is wanted, not
// where, and are dropped.
func parseURI(uri string) (repository, error) {
	rest, ok := strings.CutPrefix(uri, scheme)
	if !ok {
		return repository{}, malformed(uri, "not a %s URI", scheme)
	}
	rest, query, _ := strings.Cut(rest, "?")
	host, name, _ := strings.Cut(rest, "/")
	name, _, _ = strings.Cut(name, "@")
	if slash := strings.LastIndexByte(name, '/'); strings.Contains(name[slash+1:], ":") {
		name = name[:strings.LastIndexByte(name, ':')]
	}
	r, err := newRepository(host, name)
	if err != nil || query == "" {
		return r, err
	}
	return r, r.setQuery(query)
}

// isDigest reports whether s has the form of a digest, of any algorithm
// (image-spec, "Digests"). Nothing else becomes part of a URL as one
// (CVE-2024-3727).
func isDigest(s string) bool { return digest.DigestRegexpAnchored.MatchString(s) }
