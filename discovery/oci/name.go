package oci

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/waybill-project/waybill/name"
)

// Name is a host-based image name (host-based-image-names.md, version 1):
//
//	host "/" path-rootless [ "#" fragment ]
//
// It is comparable. The parts are as they were written, percent-encoding and all.
type Name struct {
	// Host is a DNS name or an address, IPv6 in brackets; never with a port.
	Host string
	// Path has no slash in front.
	Path string
	// Fragment is empty also where none was written.
	Fragment string
}

// maxHost is the longest host name (RFC 1035 §2.3.4, as text).
const maxHost = 253

// Parse reads a name. Hosts are those that DNS and https can have: letters,
// digits, "-", "_" and dots, or an address. Errors are [*name.Error].
func Parse(s string) (Name, error) {
	p := parser(s)
	if len(s) > MaxName {
		return Name{}, p.fail(-1, "it is "+strconv.Itoa(len(s))+" bytes long; the limit is "+strconv.Itoa(MaxName))
	}
	host, rest, ok := strings.Cut(s, "/")
	if !ok {
		return Name{}, p.fail(-1, "no path; write HOST/PATH#FRAGMENT")
	}
	if err := p.host(host); err != nil {
		return Name{}, err
	}
	path, fragment, _ := strings.Cut(rest, "#")
	start := len(host) + 1
	switch {
	case path == "":
		return Name{}, p.fail(start, "the path is empty; write HOST/PATH#FRAGMENT")
	case path[0] == '/':
		return Name{}, p.fail(start, "the path begins with an empty segment")
	}
	if err := p.text(path, start, "/"); err != nil {
		return Name{}, err
	}
	if err := p.text(fragment, start+len(path)+1, "/?"); err != nil {
		return Name{}, err
	}
	return Name{Host: host, Path: path, Fragment: fragment}, nil
}

// String returns the name as [Parse] reads it.
func (n Name) String() string {
	if n.Fragment == "" {
		return n.Host + "/" + n.Path
	}
	return n.Host + "/" + n.Path + "#" + n.Fragment
}

// variables are what templates of ref engines may use (index-template.md).
func (n Name) variables() map[string]string {
	return map[string]string{"name": n.String(), "host": n.Host, "path": n.Path, "fragment": n.Fragment}
}

// parser is the input, kept for errors.
type parser string

// fail returns an error about what stands at byte off, or about the whole
// where off is negative.
func (p parser) fail(off int, problem string) error {
	e := &name.Error{Input: string(p), Problem: problem}
	if off >= 0 {
		e.Pos = utf8.RuneCountInString(string(p[:off])) + 1
	}
	return e
}

// host checks the part before the first slash (RFC 3986 §3.2.2).
func (p parser) host(host string) error {
	if host == "" {
		return p.fail(-1, "the host is empty; write HOST/PATH#FRAGMENT")
	}
	if host[0] == '[' {
		return p.literal(host)
	}
	if i := strings.IndexByte(host, ':'); i >= 0 {
		return p.fail(i, "a host-based name has no port")
	}
	for i, r := range host {
		if !isHostChar(r) {
			return p.fail(i, strconv.QuoteRune(r)+" can't stand in a host; use letters, digits, '-', '_' and dots (xn--… for other scripts)")
		}
	}
	if len(host) > maxHost {
		return p.fail(maxHost, "the host is longer than "+strconv.Itoa(maxHost)+" characters")
	}
	at := 0
	for label := range strings.SplitSeq(host, ".") {
		switch {
		case label == "":
			return p.fail(at, "an empty label in the host")
		case len(label) > 63:
			return p.fail(at, "a label of more than 63 characters in the host")
		case label[0] == '-' || label[len(label)-1] == '-':
			return p.fail(at, "a label in the host that begins or ends with '-'")
		}
		at += len(label) + 1
	}
	return nil
}

// literal checks an IPv6 address in brackets.
func (p parser) literal(host string) error {
	inside, rest, closed := strings.Cut(host[1:], "]")
	if !closed {
		return p.fail(0, "a '[' without ']'")
	}
	if rest != "" {
		return p.fail(len(inside)+2, "a host-based name has no port; nothing may stand between ']' and '/'")
	}
	if addr, err := netip.ParseAddr(inside); err != nil || !addr.Is6() || addr.Zone() != "" {
		return p.fail(1, "not an IPv6 address")
	}
	return nil
}

// text checks what stands at byte off: pchar (RFC 3986 §3.3) and whatever is in
// more.
func (p parser) text(s string, off int, more string) error {
	for i, r := range s {
		switch {
		case isPchar(r) || r < utf8.RuneSelf && strings.ContainsRune(more, r):
		case r == '%' && len(s) >= i+3 && isHex(s[i+1]) && isHex(s[i+2]):
		case r == '%':
			return p.fail(off+i, "'%' without two hex digits behind it")
		default:
			return p.fail(off+i, strconv.QuoteRune(r)+" has to be percent-encoded (RFC 3986)")
		}
	}
	return nil
}

func isHostChar(r rune) bool {
	return isLetterOrDigit(r) || r == '-' || r == '_' || r == '.'
}

// isPchar reports whether r is unreserved, a sub-delim, ":" or "@".
func isPchar(r rune) bool {
	return isLetterOrDigit(r) || r < utf8.RuneSelf && strings.ContainsRune("-._~!$&'()*+,;=:@", r)
}

func isLetterOrDigit(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f'
}
