// Package uritmpl reads URI templates (RFC 6570) as strangers write them: of
// bounded length, over variables that are known, expanding to URIs of bounded
// length that are resolved (RFC 3986 §5) against where the template was found.
package uritmpl

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/yosida95/uritemplate/v3"
)

// Caps. Beyond one there is an error that names it.
const (
	// MaxTemplate is the longest template, in bytes.
	MaxTemplate = 4096
	// MaxExpressions is how many expressions a template may hold.
	MaxExpressions = 16
	// MaxExpanded is the longest URI that comes of one, in bytes.
	MaxExpanded = 8192
)

// ErrUndefined: the template uses a variable that has no value here.
var ErrUndefined = errors.New("undefined variable")

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	text string
	tmpl *uritemplate.Template
}

// Parse reads a template.
func Parse(text string) (*Template, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("a template of %d bytes; the limit is %d", len(text), MaxTemplate)
	}
	if n := strings.Count(text, "{"); n > MaxExpressions {
		return nil, fmt.Errorf("a template of %d expressions; the limit is %d", n, MaxExpressions)
	}
	tmpl, err := uritemplate.New(text)
	if err != nil {
		// The library's error quotes it, and there may be a password in it.
		return nil, errors.New("not a URI template (RFC 6570)")
	}
	return &Template{text: text, tmpl: tmpl}, nil
}

// String returns the template as it was written.
func (t *Template) String() string { return t.text }

// Variables returns the names of the variables it uses, sorted, each once.
func (t *Template) Variables() []string {
	names := slices.Clone(t.tmpl.Varnames())
	slices.Sort(names)
	return slices.Compact(names)
}

// Only reports, as an error, a variable that isn't one of those known.
func (t *Template) Only(known ...string) error {
	for _, v := range t.tmpl.Varnames() {
		if !slices.Contains(known, v) {
			return fmt.Errorf("unknown variable %q; there are %s", clip(v), strings.Join(known, ", "))
		}
	}
	return nil
}

// Expand returns the reference that the template makes of the values. A
// variable without one is [ErrUndefined].
func (t *Template) Expand(values map[string]string) (string, error) {
	v := uritemplate.Values{}
	for _, name := range t.tmpl.Varnames() {
		value, ok := values[name]
		if !ok {
			return "", fmt.Errorf("%w %q", ErrUndefined, name)
		}
		octets, err := t.octets(name, value)
		if err != nil {
			return "", err
		}
		v.Set(name, uritemplate.String(octets))
	}
	ref, err := t.tmpl.Expand(v)
	if err != nil {
		return "", errors.New("the template can't be expanded")
	}
	if len(ref) > MaxExpanded {
		return "", fmt.Errorf("expands to %d bytes; the limit is %d", len(ref), MaxExpanded)
	}
	return ref, nil
}

// octets returns a value such that the library, which percent-encodes numbers of
// characters, encodes the octets of their UTF-8 (RFC 6570 §1.6). A prefix would
// then count octets instead of characters, so such a value can't have one.
func (t *Template) octets(name, value string) (string, error) {
	var b strings.Builder
	ascii := true
	for _, octet := range []byte(value) {
		if octet < ' ' || octet == 0x7f {
			return "", fmt.Errorf("the value of %q has a control character", name)
		}
		ascii = ascii && octet < 0x80
		b.WriteRune(rune(octet))
	}
	if !ascii && strings.Contains(t.text, name+":") {
		return "", fmt.Errorf("a prefix of %q, whose value is not ASCII", name)
	}
	return b.String(), nil
}

// Resolve is Expand, and the reference resolved against base, which may be nil
// where the reference has to be absolute.
func (t *Template) Resolve(base *url.URL, values map[string]string) (*url.URL, error) {
	ref, err := t.Expand(values)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(ref)
	if err != nil {
		return nil, errors.New("expands to what is no URI reference (RFC 3986)")
	}
	if base != nil {
		u = base.ResolveReference(u)
	}
	if !u.IsAbs() {
		return nil, errors.New("expands to a relative reference, and there is nothing to resolve it against")
	}
	if len(u.String()) > MaxExpanded {
		return nil, fmt.Errorf("leads to a URI of more than %d bytes", MaxExpanded)
	}
	return u, nil
}

// clip keeps short what errors repeat.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
