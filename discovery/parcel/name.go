package parcel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// MaxName is the longest name [Parse] reads, in bytes.
const MaxName = 1024

// Name is what the draft calls a discovery URI: AUTHORITY/PATH.
type Name struct {
	// Authority is the host, with a port where one was written.
	Authority string
	// Path is the rest, without the slash before it, as it was written.
	Path string
}

// Parse reads AUTHORITY/PATH: authority and path-rootless of RFC 3986 §3,
// without user information. The error is one line.
func Parse(s string) (Name, error) {
	fail := func(format string, args ...any) (Name, error) {
		return Name{}, fmt.Errorf("parcel name %q: %s", clip(s), fmt.Sprintf(format, args...))
	}
	authority, path, ok := strings.Cut(s, "/")
	switch {
	case len(s) > MaxName:
		return fail("it is %d bytes long; the limit is %d", len(s), MaxName)
	case !ok || path == "":
		return fail("no path; write HOST/NAME")
	case path[0] == '/':
		return fail("the path begins with a slash; write HOST/NAME")
	case strings.Contains(authority, "@"):
		return Name{}, errors.New("parcel name: it holds user information; write HOST/NAME")
	case strings.ContainsAny(path, "?#"):
		return fail("'?' and '#' can't stand in it; percent-encode them")
	}
	u, err := url.Parse("https://" + s)
	if err != nil || strings.IndexFunc(s, notInName) >= 0 {
		return fail("no authority and path of RFC 3986; percent-encode what can't stand in one")
	}
	if u.Hostname() == "" {
		return fail("no host before the first slash")
	}
	if _, port, ok := strings.Cut(strings.TrimPrefix(u.Host, "["+u.Hostname()+"]"), ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fail("the port isn't a number from 1 to 65535")
		}
	}
	return Name{Authority: authority, Path: path}, nil
}

// String returns the name as [Parse] reads it.
func (n Name) String() string { return n.Authority + "/" + n.Path }

// origin is the root of the host that the name speaks of.
func (n Name) origin() *url.URL { return &url.URL{Scheme: "https", Host: n.Authority, Path: "/"} }

func notInName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r)
}

// variables of templates (draft, "URI Template Variables").
const (
	varVersion         = "parcel.version"
	varAuthority       = "parcel.discovery.authority"
	varUserAuthority   = "parcel.discovery.userAuthority"
	varName            = "parcel.discovery.name"
	varNameDigest      = "parcel.discovery.nameDigest"
	varDigestAlgorithm = "parcel.discovery.digestAlgorithm"

	varBlobAlgorithm = "parcel.fetch.blob.algorithm"
	varBlobDigest    = "parcel.fetch.blob.digest"
	// varBlobAlgorithmToo is what the draft's own examples call
	// varBlobAlgorithm.
	varBlobAlgorithmToo = "parcel.fetch.blob.digestAlgorithm"
)

var (
	discoveryVariables = []string{varVersion, varAuthority, varUserAuthority, varName, varNameDigest, varDigestAlgorithm}
	blobVariables      = []string{varBlobAlgorithm, varBlobDigest, varBlobAlgorithmToo}
)

// values are the variables of the discovery stage. The digest algorithm was to
// be that of a "discovery object" the draft no longer has; it is sha256.
func (n Name) values() map[string]string {
	sum := sha256.Sum256([]byte(n.Path))
	return map[string]string{
		varVersion:         Version,
		varAuthority:       n.Authority,
		varUserAuthority:   n.Authority,
		varName:            n.Path,
		varNameDigest:      hex.EncodeToString(sum[:]),
		varDigestAlgorithm: "sha256",
	}
}

// clip keeps short what is repeated of a name or document.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
