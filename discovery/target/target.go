package target

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/waybill-project/waybill/name"
)

// Kind is what a URI leads to, as far as the URI itself tells.
type Kind int

// The kinds of targets.
const (
	// Registry is an image in a registry; the URI is docker://HOST/REPO with a
	// tag or digest, as package name reads it.
	Registry Kind = iota + 1
	// Archive is a tar of an OCI layout: https://….tar, or oci-archive:FILE.
	Archive
	// Index is an OCI index or manifest by itself: https://….json.
	Index
	// Layout is an OCI layout in a directory: oci:DIR.
	Layout
	// Place is an OCI layout somewhere else, as package name has it: ipfs:// or
	// ftp://.
	Place
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Registry:
		return "registry"
	case Archive:
		return "archive"
	case Index:
		return "index"
	case Layout:
		return "layout"
	case Place:
		return "place"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Target is what a URI leads to.
type Target struct {
	Kind Kind
	// URI is absolute, in the form that package name or an HTTP client reads.
	URI string
	// Remote says that somebody else named it: a document from a network. Only
	// public addresses may be asked then, unless local configuration says
	// otherwise (spec/security.md §3).
	Remote bool
}

// archiveSuffixes and indexSuffixes are what paths of https URIs end in.
var (
	archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".oci"}
	indexSuffixes   = []string{".json", "/index"}
)

// Parse reads a URI of a document from elsewhere. What it leads to names an
// image and isn't compared with any digest, so http is refused.
func Parse(uri string) (Target, error) {
	if rest, ok := strings.CutPrefix(uri, "oci://"); ok {
		uri = "docker://" + rest // Helm's way of writing a registry reference
	}
	u, err := ParseURI(uri, "https", "docker", "ipfs", "ftp")
	if err != nil {
		return Target{}, err
	}
	t := Target{URI: uri, Remote: true}
	switch u.Scheme {
	case "docker":
		return registry(t)
	case "ipfs", "ftp":
		t.Kind = Place
		return t, nil
	}
	switch {
	case hasSuffix(u.Path, archiveSuffixes):
		t.Kind = Archive
	case hasSuffix(u.Path, indexSuffixes):
		t.Kind = Index
	default:
		return Target{}, fmt.Errorf("neither an archive (%s) nor an index (%s) by its name",
			strings.Join(archiveSuffixes, ", "), strings.Join(indexSuffixes, ", "))
	}
	return t, nil
}

// registry makes a registry reference canonical.
func registry(t Target) (Target, error) {
	n, err := name.Parse(t.URI)
	var bad *name.Error
	if errors.As(err, &bad) {
		return Target{}, fmt.Errorf("no registry reference: %s", bad.Problem)
	}
	if err != nil {
		return Target{}, err
	}
	t.Kind, t.URI = Registry, "docker://"+strings.TrimPrefix(n.String(), "docker://")
	return t, nil
}

func hasSuffix(p string, suffixes []string) bool {
	p = strings.ToLower(path.Clean("/" + p))
	for _, s := range suffixes {
		if strings.HasSuffix(p, s) {
			return true
		}
	}
	return false
}

// MaxURI is the longest URI, in bytes.
const MaxURI = 8192

// ParseURI reads an absolute URI of a document from elsewhere. It is refused
// when its scheme isn't one of schemes, when it carries credentials, or when it
// would be read differently by different programs.
func ParseURI(uri string, schemes ...string) (*url.URL, error) {
	if len(uri) > MaxURI {
		return nil, fmt.Errorf("a URI of %d bytes; the limit is %d", len(uri), MaxURI)
	}
	if i := strings.IndexFunc(uri, notInURI); i >= 0 {
		return nil, fmt.Errorf("byte %d of the URI is %q, which has to be percent-encoded", i+1, uri[i])
	}
	if strings.HasPrefix(uri, "docker://") && slices.Contains(schemes, "docker") {
		return parseReference(uri)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return nil, errors.New("malformed URI") // the parser's error quotes it
	}
	return u, Check(u, schemes...)
}

// parseReference reads a registry reference as a URI: the colon before its tag
// and the "@" before its digest mean something else in one.
func parseReference(uri string) (*url.URL, error) {
	host, rest, _ := strings.Cut(strings.TrimPrefix(uri, "docker://"), "/")
	if strings.Contains(host, "@") { // a digest comes after the first slash, or name.Parse refuses it
		return nil, errors.New("credentials in the URI")
	}
	return &url.URL{Scheme: "docker", Host: host, Path: "/" + rest}, nil
}

// Check is ParseURI's judgement of a URI that was read already.
func Check(u *url.URL, schemes ...string) error {
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("scheme %q; a document from elsewhere may use %s here", clip(u.Scheme), strings.Join(schemes, ", "))
	case u.User != nil:
		return errors.New("credentials in the URI")
	case strings.ContainsFunc(u.Path, isControl):
		return errors.New("a control character in the URI's path")
	case u.Scheme == "magnet":
		return checkMagnet(u)
	case u.Opaque != "" || u.Hostname() == "":
		return errors.New("a URI that names no host")
	case u.Fragment != "":
		return errors.New("a fragment in the URI")
	case u.RawQuery != "" && (u.Scheme == "ftp" || u.Scheme == "ipfs"):
		return fmt.Errorf("a query in a URI of scheme %s", u.Scheme)
	}
	return nil
}

// magnetParameters are those a magnet link from elsewhere may hold, and what
// URIs among them begin with. Others (x.pe, xs, as, …) send the reader to
// places by means that nothing here can judge.
var magnetParameters = map[string][]string{
	"xt": {"urn:btih:", "urn:btmh:"},
	"dn": {""},
	"xl": {""},
	"tr": {"https://", "http://", "udp://"},
	"ws": {"https://", "http://"},
}

// maxMagnetParameters is how many a link may have.
const maxMagnetParameters = 64

func checkMagnet(u *url.URL) error {
	if u.Opaque != "" || u.Host != "" || u.Path != "" {
		return errors.New("malformed magnet link")
	}
	if strings.Count(u.RawQuery, "&") >= maxMagnetParameters {
		return fmt.Errorf("a magnet link of more than %d parameters", maxMagnetParameters)
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(values["xt"]) == 0 {
		return errors.New("malformed magnet link")
	}
	for key, list := range values {
		base, _, _ := strings.Cut(key, ".") // tr.1, tr.2, …
		for _, v := range list {
			if !hasPrefix(v, magnetParameters[base]) || strings.ContainsFunc(v, isControl) {
				return fmt.Errorf("parameter %q of the magnet link isn't one that a document from elsewhere may use", clip(key))
			}
		}
	}
	return nil
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(strings.ToLower(s), p) {
			return true
		}
	}
	return false
}

// notInURI reports whether RFC 3986 §2 has no place for r.
func notInURI(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// clip keeps short what errors repeat of a document.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
