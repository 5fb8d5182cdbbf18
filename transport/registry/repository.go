package registry

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
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
	host string // as in names: HOST or HOST:PORT, lower case
	name string
}

// server returns the host to ask.
func (r repository) server() string {
	if r.host == hub || r.host == "index."+hub {
		return hubServer
	}
	return r.host
}

// uri returns the repository as a route names it.
func (r repository) uri() string { return scheme + r.host + "/" + r.name }

// scope returns the scope of a token for reading (distribution token
// specification, "Token scope documentation").
func (r repository) scope() string { return "repository:" + r.name + ":pull" }

// newRepository checks a host and a repository name. They go into URLs, so
// nothing passes that could mean anything else there.
func newRepository(host, name string) (repository, error) {
	r := repository{host: strings.ToLower(host), name: name}
	u, err := url.Parse("https://" + host)
	switch {
	case err != nil, u.Host != host, u.Hostname() == "":
		return repository{}, malformed(scheme+"…", "malformed registry name; want HOST or HOST:PORT")
	case len(name) > maxRepository:
		return repository{}, malformed(scheme+r.host, "repository name is longer than %d bytes", maxRepository)
	case !repositoryName.MatchString(name):
		return repository{}, malformed(scheme+r.host, "malformed repository name %q; want lower-case path components", name)
	}
	if r.host == hub && !strings.Contains(name, "/") {
		r.name = "library/" + name
	}
	return r, nil
}

// parseURI returns the repository of docker://HOST[:PORT]/REPO[:TAG][@DIGEST].
// Tag and digest say what is wanted, not where, and are dropped.
func parseURI(uri string) (repository, error) {
	rest, ok := strings.CutPrefix(uri, scheme)
	if !ok {
		return repository{}, malformed(uri, "not a %s URI", scheme)
	}
	host, name, _ := strings.Cut(rest, "/")
	name, _, _ = strings.Cut(name, "@")
	if slash := strings.LastIndexByte(name, '/'); strings.Contains(name[slash+1:], ":") {
		name = name[:strings.LastIndexByte(name, ':')]
	}
	return newRepository(host, name)
}

// isDigest reports whether s has the form of a digest, of any algorithm
// (image-spec, "Digests"). Nothing else becomes part of a URL as one
// (CVE-2024-3727).
func isDigest(s string) bool { return digest.DigestRegexpAnchored.MatchString(s) }
