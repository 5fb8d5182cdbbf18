package ni

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

const (
	// Scheme is that of the URIs.
	Scheme = "ni"
	// WellKnown is the path below which a web server has blobs by their hashes
	// (RFC 6920 §4).
	WellKnown = "/.well-known/ni/"
	// MaxURI is the longest URI that is read, in bytes.
	MaxURI = 1024
	// maxContentType is the longest media type in one.
	maxContentType = 255
)

// suites are the hash algorithms of the registry (RFC 6920 §9.4 and later
// additions) that descriptors may use. blake3 isn't in it.
var suites = map[digest.Algorithm]string{
	blobdigest.SHA256: "sha-256",
	blobdigest.SHA512: "sha-512",
}

// encoding is base64url without padding, in the one form that each hash has (RFC
// 6920 §3).
var encoding = base64.RawURLEncoding.Strict()

// URI is a named information URI.
type URI struct {
	// Authority is the host, with its port if any, that may know more of it;
	// empty where it names none.
	Authority string
	// Digest is what it names. Empty is a URI that names an authority alone,
	// which RFC 6920 doesn't have; see [ParseSource].
	Digest digest.Digest
	// ContentType is what ct= says (RFC 6920 §3.1), or empty.
	ContentType string
}

// Parse reads a URI. Parameters other than ct are passed over.
func Parse(s string) (URI, error) {
	u, err := ParseSource(s)
	if err == nil && u.Digest == "" {
		return URI{}, malformed(s, "no hash; want ni://[HOST]/ALGORITHM;BASE64URL")
	}
	return u, err
}

// ParseSource reads a URI as [Parse] does, or one that has an authority and
// nothing behind it, ni://HOST: the server for whatever hash.
func ParseSource(s string) (URI, error) {
	if len(s) > MaxURI {
		return URI{}, fmt.Errorf("ni URI of %d bytes; the limit is %d", len(s), MaxURI)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return URI{}, errors.New("ni URI: not a URI (RFC 3986)") // the parser's error quotes it
	case u.Scheme != Scheme:
		return URI{}, malformed(s, "the scheme isn't ni")
	case u.Opaque != "" || !strings.HasPrefix(s[len(Scheme):], "://"):
		return URI{}, malformed(s, "want ni:/// or ni://HOST/")
	case u.User != nil:
		return URI{}, errors.New("ni URI: credentials in it, which are refused")
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return URI{}, malformed(s, "a fragment, which names nothing in a blob")
	case u.Host != "" && u.Hostname() == "":
		return URI{}, malformed(s, "a port without a host")
	}
	n := URI{Authority: strings.ToLower(u.Host)}
	if u.Path == "" || u.Path == "/" {
		if n.Authority == "" || u.RawQuery != "" {
			return URI{}, malformed(s, "no hash; want ni://[HOST]/ALGORITHM;BASE64URL")
		}
		return n, nil
	}
	if n.Digest, err = parseAlgVal(u.EscapedPath()[1:]); err != nil {
		return URI{}, malformed(s, "%w", err)
	}
	if n.ContentType, err = contentType(u.RawQuery); err != nil {
		return URI{}, malformed(s, "%w", err)
	}
	return n, nil
}

// parseAlgVal reads ALGORITHM;BASE64URL.
func parseAlgVal(s string) (digest.Digest, error) {
	suite, val, ok := strings.Cut(s, ";")
	if !ok {
		return "", errors.New("no ';' after the algorithm; want ALGORITHM;BASE64URL")
	}
	for algorithm, name := range suites {
		switch {
		case suite == name:
			hash, err := encoding.DecodeString(val)
			if err != nil {
				return "", errors.New("the hash isn't base64url without padding (RFC 4648 §5)")
			}
			d := digest.NewDigestFromEncoded(algorithm, hex.EncodeToString(hash))
			if blobdigest.Validate(d) != nil {
				return "", fmt.Errorf("a hash of %d bytes isn't one of %s", len(hash), name)
			}
			return d, nil
		case strings.HasPrefix(suite, name+"-"):
			return "", fmt.Errorf("%q is a truncated hash, by which nothing can be verified; use %s", clip(suite), name)
		}
	}
	return "", fmt.Errorf("unknown algorithm %q; there are sha-256 and sha-512", clip(suite))
}

// contentType returns the value of ct in a query (RFC 6920 §3.1).
func contentType(query string) (string, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", errors.New("malformed query")
	}
	ct := q.Get("ct")
	switch {
	case len(q["ct"]) > 1:
		return "", errors.New("ct stands in it more than once")
	case len(ct) > maxContentType:
		return "", fmt.Errorf("a content type of %d bytes; the limit is %d", len(ct), maxContentType)
	case strings.ContainsFunc(ct, func(r rune) bool { return r < ' ' || r > '~' }):
		return "", errors.New("a content type with a character no media type has")
	}
	return ct, nil
}

// String returns the URI. It is as RFC 6920 §3 has it where the digest is valid
// and of an algorithm that has a name there; see [Named].
func (u URI) String() string {
	if u.Digest == "" {
		return Scheme + "://" + u.Authority
	}
	suite, val := algVal(u.Digest)
	s := Scheme + "://" + u.Authority + "/" + suite + ";" + val
	if u.ContentType != "" {
		s += "?" + strings.ReplaceAll(url.Values{"ct": {u.ContentType}}.Encode(), "%2F", "/")
	}
	return s
}

// Named reports whether a digest is valid and its algorithm has a name in RFC
// 6920's registry.
func Named(d digest.Digest) bool {
	return blobdigest.Validate(d) == nil && suites[d.Algorithm()] != ""
}

// Path returns the path at which a web server has the blob with a digest (RFC
// 6920 §4), and false where the digest isn't [Named].
func Path(d digest.Digest) (string, bool) {
	if !Named(d) {
		return "", false
	}
	suite, val := algVal(d)
	return WellKnown + suite + "/" + val, true
}

// algVal returns the parts that stand for a digest.
func algVal(d digest.Digest) (suite, val string) {
	hash, err := hex.DecodeString(d.Encoded())
	if err != nil {
		return "", ""
	}
	return suites[d.Algorithm()], encoding.EncodeToString(hash)
}

func malformed(uri, format string, args ...any) error {
	return fmt.Errorf("ni URI %q: %w", clip(uri), fmt.Errorf(format, args...))
}

// clip keeps short what errors repeat.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
