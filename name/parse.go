package name

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

// MaxLength is the longest name [Parse] reads, in bytes: a path of Linux's
// PATH_MAX and room for the rest.
const MaxLength = 8192

// maxTag is the longest tag (distribution-spec, "Pulling manifests").
const maxTag = 128

const dockerPrefix = "docker://"

// Error says what is wrong with a name, on one line.
type Error struct {
	// Input is the name as it was given.
	Input string
	// Pos is the character of Input that is wrong, counting from 1; 0 where
	// no single one is to blame.
	Pos int
	// Problem says what is wrong, and what to do where that isn't plain.
	Problem string
}

// Error returns the line: the name, the position and the problem.
func (e *Error) Error() string {
	in := clip(redact(e.Input))
	if e.Pos == 0 {
		return fmt.Sprintf("name %q: %s", in, e.Problem)
	}
	return fmt.Sprintf("name %q, character %d: %s", in, e.Pos, e.Problem)
}

// redact leaves a password out of what looks like a URI with one.
func redact(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	end := len(rest)
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@')
	user, _, hasPassword := strings.Cut(rest[:max(at, 0)], ":")
	if !hasPassword {
		return s
	}
	return scheme + "://" + user + ":xxxxx" + rest[at:]
}

// clip keeps what errors repeat of a name short.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Parse reads a name by the grammar in the package comment. A registry
// reference with neither tag nor digest gets the tag "latest". Errors are
// [*Error].
func Parse(s string) (Name, error) {
	p := parser{input: s}
	n, err := p.parse()
	if err != nil {
		return Name{}, err
	}
	return n, nil
}

// parser keeps the input for errors.
type parser struct {
	input string
}

// fail returns an error about what stands at byte off of the input, or about
// the whole input where off is negative.
func (p parser) fail(off int, format string, args ...any) error {
	pos := 0
	if off >= 0 {
		pos = utf8.RuneCountInString(p.input[:off]) + 1
	}
	return &Error{Input: p.input, Pos: pos, Problem: fmt.Sprintf(format, args...)}
}

func (p parser) parse() (Name, error) {
	s := p.input
	switch {
	case s == "":
		return Name{}, p.fail(-1, "it is empty; write something like alpine:3.20, HOST/REPO:TAG or oci:DIR")
	case len(s) > MaxLength:
		return Name{}, p.fail(-1, "it is %d bytes long; the limit is %d", len(s), MaxLength)
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n <= 1 {
				return Name{}, p.fail(i, "byte 0x%02x is not UTF-8", s[i])
			}
		}
		if r < ' ' || r == 0x7f {
			return Name{}, p.fail(i, "control character %q; remove it", r)
		}
	}
	for kind, prefix := range published {
		if rest, ok := strings.CutPrefix(s, prefix+":"); ok {
			return p.published(kind, rest, len(prefix)+1)
		}
	}
	if rest, ok := strings.CutPrefix(s, dockerPrefix); ok {
		return p.registry(rest, len(dockerPrefix))
	}
	scheme, ok := schemeOf(s)
	if !ok && strings.Contains(s, "#") {
		return p.published(Host, s, 0)
	}
	if !ok {
		return p.registry(s, 0)
	}
	for kind, name := range schemes {
		if name == scheme {
			return p.local(kind, s[len(scheme)+1:], len(scheme)+1)
		}
	}
	if blobdigest.Supported(digest.Algorithm(scheme)) {
		d, err := p.digest(s, 0)
		return Name{Kind: Digest, Digest: d}, err
	}
	if slices.Contains(places, scheme) {
		return p.place(s)
	}
	if slices.Contains(torrents, scheme) {
		return p.torrent(scheme, s)
	}
	return Name{}, p.fail(0, "scheme %q doesn't name images; use docker://, oci:, oci-archive:, docker-archive: or one of %s, or give it as a source with --from", clip(scheme), strings.Join(places, "://, ")+"://")
}

// places are the schemes of URIs of places that may hold an OCI layout.
var places = []string{"sftp", "ssh", "ftp", "ftps", "ftpes", "s3", "gs", "azblob", "ipfs", "ipns"}

// published reads a name whose host says where the image is; off is where s
// stands in the input. What may stand in it is for the protocol to say.
func (p parser) published(k Kind, s string, off int) (Name, error) {
	n := Name{Kind: k}
	if i := digestSuffix.FindStringIndex(s); i != nil {
		d, err := p.digest(s[i[0]+1:], off+i[0]+1)
		if err != nil {
			return Name{}, err
		}
		n.Digest, s = d, s[:i[0]]
	}
	if k == Host {
		s, n.Ref, _ = strings.Cut(s, "#")
	}
	n.Path = s
	host, path, _ := strings.Cut(s, "/")
	switch {
	case k == ABD && s == "":
		return Name{}, p.fail(off, "no identifier; write abd:com.example.app, with labels as in abd:com.example.app,os=linux")
	case k == AppC && s == "":
		return Name{}, p.fail(off, "no name; write appc:example.com/app:1.0, with labels as in appc:example.com/app,os=linux")
	case (k == Host || k == Parcel) && (host == "" || path == ""):
		return Name{}, p.fail(off, "want HOST/PATH: the host that says where the image is, and what it calls it")
	}
	return n, nil
}

// reservedHost reports whether what begins with a registry's host would be read
// as something else than a reference.
func reservedHost(host string) bool {
	if _, reserved := schemeOf(host + "/"); reserved {
		return true
	}
	for _, prefix := range published {
		if strings.HasPrefix(host, prefix+":") {
			return true
		}
	}
	return false
}

// torrents are the schemes of URIs without "//" of torrents of an OCI layout.
var torrents = []string{"magnet", "torrent"}

// torrent reads magnet:?… or torrent:FILE, its ref in the fragment. FILE is as it
// is, without escapes.
func (p parser) torrent(scheme, s string) (Name, error) {
	n, s, err := p.placeDigest(s)
	if err != nil {
		return Name{}, err
	}
	var fragment string
	var hasFragment bool
	n.Path, fragment, hasFragment = strings.Cut(s, "#")
	switch {
	case scheme == "magnet" && !strings.HasPrefix(n.Path, "magnet:?"):
		return Name{}, p.fail(0, "want magnet:?xt=urn:btih:… or urn:btmh:… (an image called magnet is docker.io/library/magnet)")
	case n.Path == "torrent:":
		return Name{}, p.fail(0, "no file; write torrent:FILE (an image called torrent is docker.io/library/torrent)")
	case hasFragment && fragment == "":
		return Name{}, p.fail(len(n.Path), "nothing follows the '#'; write URI#REF, or leave it out")
	}
	if n.Ref, err = url.PathUnescape(fragment); err != nil {
		return Name{}, p.fail(len(n.Path)+1, "malformed percent-encoding")
	}
	return n, nil
}

// placeDigest takes the digest of the image off what names a place.
func (p parser) placeDigest(s string) (Name, string, error) {
	n := Name{Kind: Place}
	if i := digestSuffix.FindStringIndex(s); i != nil {
		d, err := p.digest(s[i[0]+1:], i[0]+1)
		if err != nil {
			return Name{}, "", err
		}
		n.Digest, s = d, s[:i[0]]
	}
	return n, s, nil
}

// place reads the URI of a layout, its ref in the fragment.
func (p parser) place(s string) (Name, error) {
	n, s, err := p.placeDigest(s)
	if err != nil {
		return Name{}, err
	}
	uri, fragment, hasFragment := strings.Cut(s, "#")
	u, err := url.Parse(s)
	switch {
	case err != nil: // it quotes the URI, and any password in it
		return Name{}, &Error{Input: schemeOnly(p.input), Problem: "not a URI (RFC 3986); percent-encode what can't stand in one"}
	case hasPassword(u):
		return Name{}, &Error{Input: schemeOnly(p.input), Problem: "a name is kept and shown, so it can't hold a password; give that to --from, or keep it where the scheme's page in docs/ says"}
	case u.Host == "":
		return Name{}, p.fail(-1, "no host, bucket or CID after %s://", u.Scheme)
	case hasFragment && fragment == "":
		return Name{}, p.fail(len(uri), "nothing follows the '#'; write URI#REF, or leave it out")
	}
	n.Path, n.Ref = uri, u.Fragment
	return n, nil
}

func hasPassword(u *url.URL) bool {
	_, ok := u.User.Password()
	return ok
}

// schemeOnly returns what of a malformed URI is fit to be shown.
func schemeOnly(s string) string {
	scheme, _, _ := strings.Cut(s, ":")
	return scheme + "://…"
}

// schemeOf returns what stands before the first colon of s where that makes s
// something else than a registry reference: a local scheme, a digest's
// algorithm, or any scheme followed by "//".
func schemeOf(s string) (string, bool) {
	before, after, ok := strings.Cut(s, ":")
	if !ok || before == "" || strings.ContainsAny(before, "/@") {
		return "", false
	}
	for _, name := range schemes {
		if before == name {
			return before, true
		}
	}
	if strings.HasPrefix(after, "//") || slices.Contains(torrents, before) {
		return before, true
	}
	if port, _, ok := strings.Cut(after, "/"); blobdigest.Supported(digest.Algorithm(before)) && !(ok && isDigits(port)) {
		return before, true // and not a host of that name with a port
	}
	return "", false
}

// local reads what follows the scheme; off is where it stands in the input.
func (p parser) local(kind Kind, s string, off int) (Name, error) {
	n := Name{Kind: kind}
	// A ref may hold an "@" of its own, so only what starts like a digest of a
	// registered algorithm is one.
	if i := digestSuffix.FindStringIndex(s); i != nil {
		d, err := p.digest(s[i[0]+1:], off+i[0]+1)
		if err != nil {
			return Name{}, err
		}
		n.Digest, s = d, s[:i[0]]
	}
	path, ref, hasRef := strings.Cut(s, ":")
	if path == "" {
		return Name{}, p.fail(off, "no path; write %s:PATH[:REF]", kind)
	}
	if hasRef && ref == "" {
		return Name{}, p.fail(off+len(path), "nothing follows the colon; write %s:PATH:REF, or leave the colon out", kind)
	}
	n.Path, n.Ref = unescapePath(path), ref
	return n, nil
}

var digestSuffix = regexp.MustCompile(`@(?:sha256|sha512|blake3):[^@:/]*$`)

func (p parser) digest(s string, off int) (digest.Digest, error) {
	d, err := blobdigest.Parse(s)
	if err == nil {
		return d, nil
	}
	var bad *blobdigest.Error
	if errors.As(err, &bad) {
		return "", p.fail(off+max(bad.Pos-1, 0), "%v", bad.Err)
	}
	return "", p.fail(off, "%v", err)
}

// registry reads a registry reference; off is where s stands in the input.
func (p parser) registry(s string, off int) (Name, error) {
	if s == "" {
		return Name{}, p.fail(-1, "no repository; write docker://HOST/REPO[:TAG]")
	}
	n := Name{Kind: Registry}
	repo, dgst, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		d, err := p.digest(dgst, off+len(repo)+1)
		if err != nil {
			return Name{}, err
		}
		n.Digest = d
	}
	if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
		if err := p.checkTag(repo[i+1:], off+i+1); err != nil {
			return Name{}, err
		}
		n.Tag, repo = repo[i+1:], repo[:i]
	}
	if isHex64(repo) {
		return Name{}, p.fail(off, "64 hex digits can't be a repository; write sha256:%s for the digest", repo)
	}
	named, err := reference.ParseNormalizedNamed(repo)
	if err != nil {
		return Name{}, p.explain(repo, off, err)
	}
	n.Host, n.Repository = reference.Domain(named), reference.Path(named)
	if n.Tag == "" && n.Digest == "" {
		n.Tag = "latest"
	}
	return n, nil
}

func (p parser) checkTag(tag string, off int) error {
	if tag == "" {
		return p.fail(off-1, "nothing follows the colon; write a tag, or leave the colon out")
	}
	for i, r := range tag {
		word := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
		if !word && (i == 0 || r != '.' && r != '-') {
			return p.fail(off+i, "%q can't stand there in a tag; use letters, digits, '_' and, after the first, '.' and '-'", r)
		}
	}
	if len(tag) > maxTag {
		return p.fail(off+maxTag, "the tag is %d characters long; the limit is %d", len(tag), maxTag)
	}
	return nil
}

// explain says where a reference that the library refused goes wrong.
func (p parser) explain(repo string, off int, cause error) error {
	start := 0
	if first, _, ok := strings.Cut(repo, "/"); ok && (first == "localhost" || strings.ContainsAny(first, ".:") || strings.ToLower(first) != first) {
		start = len(first) + 1
	}
	for i, r := range repo[start:] {
		at := off + start + i
		switch {
		case r >= 'A' && r <= 'Z':
			return p.fail(at, "upper-case %q in a repository; write it in lower case", r)
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_', r == '-', r == '/':
		default:
			return p.fail(at, "%q can't stand in a repository; use a-z, 0-9 and the separators '.', '_', '__', '-' and '/'", r)
		}
	}
	if errors.Is(cause, reference.ErrNameTooLong) {
		return p.fail(-1, "the repository is longer than %d characters", reference.RepositoryNameTotalLengthMax)
	}
	return p.fail(-1, "not a reference; write HOST/REPO[:TAG][@DIGEST] with names of a-z and 0-9, single separators between them, and a port of digits")
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func isHex64(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
