package waybill

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// From says where a document came from. It decides what its URIs may be.
type From struct {
	// Base is the absolute URI the document was finally read from, after
	// redirects. Relative references are resolved against it (RFC 3986 §5).
	// Where it is empty they are refused.
	Base string
	// Local says that the user named this very document as a file of this
	// machine. Its URIs may then be of any scheme; they are trusted as if
	// they were typed.
	Local bool
}

// remoteSchemes are what the URIs of a document from elsewhere may be
// (spec/waybill.md §5.2), and how each is looked over. What leads to this
// machine's files (file, oci, …), runs something or reads credentials from the
// environment is none of them.
var remoteSchemes = map[string]func(*url.URL) error{
	"https":      checkWeb,
	"http":       checkWeb,
	"docker":     checkRegistry,
	"ftp":        checkPlace,
	"sftp":       checkPlace,
	"ssh":        checkPlace,
	"ipfs":       checkIPFS,
	"ipfs+https": checkPlace,
	"magnet":     checkMagnet,
}

// RemoteSchemes returns the schemes that URIs of a document from elsewhere may
// have, sorted (spec/waybill.md §5.2).
func RemoteSchemes() []string {
	schemes := make([]string, 0, len(remoteSchemes))
	for s := range remoteSchemes {
		schemes = append(schemes, s)
	}
	slices.Sort(schemes)
	return schemes
}

// uriContext resolves and judges the URIs of one document.
type uriContext struct {
	base  *url.URL // nil where there is none
	local bool
}

func newURIContext(from From) (uriContext, error) {
	c := uriContext{local: from.Local}
	if from.Base == "" {
		return c, nil
	}
	base, err := url.Parse(from.Base)
	if err != nil || !base.IsAbs() || base.Opaque != "" {
		// Neither the base nor the parser's error, which quotes it, is fit
		// to be shown: it may be a presigned URL.
		return c, errors.New("waybill: the URI it came from isn't an absolute hierarchical one")
	}
	if checkUser(base) != nil {
		base.User = nil // what the document was had with is no part of what it says
	}
	c.base = base
	return c, nil
}

// resolve returns the absolute URI of a reference, or why it may not be used.
func (c uriContext) resolve(reference string) (*url.URL, error) {
	if i := strings.IndexFunc(reference, notInURI); i >= 0 {
		return nil, fmt.Errorf("character %d of the URI is %q, which has to be percent-encoded", i+1, reference[i])
	}
	if strings.Contains(reference, "#") {
		return nil, errors.New("a URI with a fragment")
	}
	u, err := url.Parse(reference)
	if err != nil {
		return nil, errors.New("malformed URI")
	}
	if !u.IsAbs() {
		if c.base == nil {
			return nil, errors.New("a relative URI in a document that came from no place it could be relative to")
		}
		u = c.base.ResolveReference(u)
	}
	if err := c.check(u); err != nil {
		return nil, err
	}
	if n := len(u.String()); n > MaxExpanded {
		return nil, fmt.Errorf("a URI of %d bytes; the limit is %d", n, MaxExpanded)
	}
	return u, nil
}

// notInURI reports whether RFC 3986 §2 has no place for r.
func notInURI(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r)
}

// check judges an absolute URI.
func (c uriContext) check(u *url.URL) error {
	if err := checkUser(u); err != nil {
		return err
	}
	if strings.IndexFunc(u.Path, unicode.IsControl) >= 0 {
		// FTP and its like send paths on a line of their own.
		return errors.New("a control character in the URI's path")
	}
	checkScheme, ok := remoteSchemes[u.Scheme]
	switch {
	case ok:
		return checkScheme(u)
	case c.local:
		return nil
	}
	return fmt.Errorf("scheme %q; a document from elsewhere may use %s", clip(u.Scheme), strings.Join(RemoteSchemes(), ", "))
}

// checkUser refuses user information, since a document holds no credentials.
// A user's name at an SSH host is part of the place.
func checkUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	if _, password := u.User.Password(); password {
		return errors.New("a password in the URI")
	}
	if u.Scheme != "sftp" && u.Scheme != "ssh" {
		return errors.New("a user in the URI")
	}
	if name := u.User.Username(); name == "" || name[0] == '-' || strings.IndexFunc(name, notInUser) >= 0 {
		return errors.New("a malformed user in the URI")
	}
	return nil
}

func notInUser(r rune) bool {
	return r > '~' || !lower(byte(r|0x20)) && !digit(byte(r)) && !strings.ContainsRune("-._", r)
}

// checkWeb checks an http or https URI.
func checkWeb(u *url.URL) error { return checkAuthority(u) }

// checkPlace checks a URI that names a place by host and path alone.
func checkPlace(u *url.URL) error {
	if u.RawQuery != "" || u.ForceQuery {
		return fmt.Errorf("a query in a URI of scheme %s", u.Scheme)
	}
	return checkAuthority(u)
}

// checkRegistry checks docker://HOST/REPOSITORY.
func checkRegistry(u *url.URL) error {
	if err := checkPlace(u); err != nil {
		return err
	}
	return checkRepository(strings.TrimPrefix(u.EscapedPath(), "/"))
}

// checkIPFS checks ipfs://CID[/PATH].
func checkIPFS(u *url.URL) error {
	if !isCID(u.Host) {
		return errors.New("an ipfs URI whose host isn't a CID")
	}
	return checkPlace(u)
}

// checkAuthority checks host and port. A host is one that every reader takes for
// the same: an address, or letters, digits, hyphens, underscores and dots.
func checkAuthority(u *url.URL) error {
	if u.Opaque != "" || u.Host == "" {
		return errors.New("a URI that names no host")
	}
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		if addr, err := netip.ParseAddr(host); err != nil || !addr.Is6() || addr.Zone() != "" {
			return errors.New("malformed IPv6 address")
		}
	} else if host == "" || len(host) > 255 || host[0] == '-' || strings.IndexFunc(host, notInHost) >= 0 {
		return errors.New("malformed host")
	}
	if _, port, ok := strings.Cut(strings.TrimPrefix(u.Host, "["+host+"]"), ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("port isn't a number from 1 to 65535")
		}
	}
	return nil
}

func notInHost(r rune) bool {
	return r > '~' || !lower(byte(r|0x20)) && !digit(byte(r)) && r != '-' && r != '.' && r != '_'
}

// magnetParameters are what a magnet link from elsewhere may hold, with the
// schemes that URIs among them may have. The rest (x.pe, xs, as, …) sends the
// reader to further places by means nothing here can judge.
var magnetParameters = map[string][]string{
	"xt": {"urn"},
	"dn": nil,
	"xl": nil,
	"so": nil,
	"tr": {"https", "http", "udp"},
	"ws": {"https", "http"},
}

// maxMagnetParameters is how many of them there may be.
const maxMagnetParameters = 64

// checkMagnet checks a magnet link and the URIs in it.
func checkMagnet(u *url.URL) error {
	if u.Opaque != "" || u.Host != "" || u.Path != "" {
		return errors.New("malformed magnet link")
	}
	if strings.Count(u.RawQuery, "&") >= maxMagnetParameters {
		return fmt.Errorf("a magnet link with more than %d parameters", maxMagnetParameters)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("malformed magnet link")
	}
	topic := false
	for key, values := range q {
		name, _, _ := strings.Cut(key, ".") // tr.1, tr.2
		schemes, known := magnetParameters[name]
		if !known {
			return fmt.Errorf("a magnet link with the parameter %q", clip(key))
		}
		for _, v := range values {
			topic = topic || name == "xt" && (strings.HasPrefix(v, "urn:btih:") || strings.HasPrefix(v, "urn:btmh:"))
			if err := checkMagnetURI(v, schemes); err != nil {
				return fmt.Errorf("a magnet link whose %q holds %w", clip(key), err)
			}
		}
	}
	if !topic {
		return errors.New("a magnet link without a BitTorrent topic (xt=urn:btih:… or urn:btmh:…)")
	}
	return nil
}

// checkMagnetURI checks a parameter that must be a URI of one of the schemes;
// nil means that it isn't one.
func checkMagnetURI(value string, schemes []string) error {
	if schemes == nil {
		return nil
	}
	v, err := url.Parse(value)
	switch {
	case err != nil:
		return errors.New("a malformed URI")
	case !slices.Contains(schemes, v.Scheme):
		return fmt.Errorf("a URI of scheme %q", clip(v.Scheme))
	case v.User != nil:
		return errors.New("a URI with a user")
	case v.Scheme == "urn":
		return nil
	}
	return checkAuthority(v)
}

// checkRepository checks the name of a repository by the grammar of the OCI
// distribution-spec ("Pulling manifests"): components of lower-case letters and
// digits, within them single separators ".", "_", "__" or hyphens.
func checkRepository(name string) error {
	if len(name) > MaxRepository {
		return fmt.Errorf("a repository's name of more than %d bytes", MaxRepository)
	}
	for component := range strings.SplitSeq(name, "/") {
		if !repositoryComponent(component) {
			return fmt.Errorf("%q isn't the name of a repository", clip(name))
		}
	}
	return nil
}

func repositoryComponent(s string) bool {
	alphanumeric := func(c byte) bool { return lower(c) || digit(c) }
	if s == "" || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if alphanumeric(s[i]) {
			i++
			continue
		}
		start := i
		for i < len(s) && !alphanumeric(s[i]) {
			i++
		}
		separator := s[start:i]
		if separator != "." && separator != "_" && separator != "__" && strings.Trim(separator, "-") != "" {
			return false
		}
	}
	return true
}

// shown returns a URI fit to be shown: without user information, where
// somebody may have put a password, and without the query, where presigned URLs
// carry their signature.
func shown(uri string) string {
	before, _, query := strings.Cut(uri, "?")
	if strings.Contains(before, "@") {
		before, _, _ = strings.Cut(before, ":")
		before += ":…"
	}
	if query {
		before += "?…"
	}
	return clip(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, before))
}
