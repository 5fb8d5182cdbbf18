package appc

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/waybill-project/waybill/uritmpl"
)

// Caps on pages.
const (
	// MaxPage is the largest page, in bytes.
	MaxPage = 1 << 20
	// MaxTags is how many ac-discovery tags a page may have.
	MaxTags = 100
)

// Tag is an ac-discovery tag.
type Tag struct {
	// Prefix is what names it is for begin with.
	Prefix string
	// Template is where such images are.
	Template string
}

// ParsePage returns the ac-discovery tags in the head of a page, in order. HTML
// is forgiving, so nothing but a cap is an error.
func ParsePage(content []byte) ([]Tag, error) {
	if len(content) > MaxPage {
		return nil, fmt.Errorf("a page of %d bytes; the limit is %d", len(content), MaxPage)
	}
	var tags []Tag
	z := html.NewTokenizer(bytes.NewReader(content))
	for {
		switch z.Next() {
		case html.ErrorToken: // the end; there is no other error in memory
			return tags, nil
		case html.EndTagToken:
			if z.Token().DataAtom == atom.Head {
				return tags, nil
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			if token.DataAtom == atom.Body {
				return tags, nil
			}
			tag, ok := readTag(token)
			if !ok {
				continue
			}
			if len(tags) == MaxTags {
				return nil, fmt.Errorf("more than %d ac-discovery tags", MaxTags)
			}
			tags = append(tags, tag)
		}
	}
}

// readTag reads <meta name="ac-discovery" content="PREFIX TEMPLATE">.
func readTag(token html.Token) (Tag, bool) {
	if token.DataAtom != atom.Meta {
		return Tag{}, false
	}
	attributes := map[string]string{}
	for _, a := range token.Attr {
		if _, twice := attributes[a.Key]; !twice && a.Namespace == "" {
			attributes[a.Key] = a.Val
		}
	}
	fields := strings.Fields(attributes["content"])
	if attributes["name"] != "ac-discovery" || len(fields) != 2 {
		return Tag{}, false
	}
	return Tag{Prefix: fields[0], Template: fields[1]}, true
}

// expression is a part of a template to be replaced.
var expression = regexp.MustCompile(`\{[^{}]*\}`)

// Expand returns what the template means for n and how many labels it used of
// n's. A label that n doesn't have is [uritmpl.ErrUndefined].
func (t Tag) Expand(n Name) (uri string, labels int, err error) {
	if len(t.Template) > uritmpl.MaxTemplate {
		return "", 0, fmt.Errorf("a template of %d bytes; the limit is %d", len(t.Template), uritmpl.MaxTemplate)
	}
	places := expression.FindAllStringIndex(t.Template, uritmpl.MaxExpressions+1)
	if len(places) > uritmpl.MaxExpressions {
		return "", 0, fmt.Errorf("a template of more than %d expressions", uritmpl.MaxExpressions)
	}
	used := map[string]bool{}
	var b strings.Builder
	end := 0
	for _, p := range places {
		key := t.Template[p[0]+1 : p[1]-1]
		value, ok := n.value(key)
		if !ok {
			return "", 0, fmt.Errorf("%w %q", uritmpl.ErrUndefined, clip(key))
		}
		if _, ok := n.Labels[key]; ok && key != "name" {
			used[key] = true
		}
		b.WriteString(t.Template[end:p[0]] + escape(value))
		end = p[1]
	}
	b.WriteString(t.Template[end:])
	if b.Len() > uritmpl.MaxExpanded {
		return "", 0, fmt.Errorf("expands to %d bytes; the limit is %d", b.Len(), uritmpl.MaxExpanded)
	}
	return b.String(), len(used), nil
}

const (
	// DefaultVersion is {version} of a name without that label, as in the
	// publication's program.
	DefaultVersion = "latest"
	// DefaultExt is {ext}. The publication has "aci" there, which a label ext
	// brings back.
	DefaultExt = "oci.tar"
)

// value is what an expression stands for. A label called "name" is none.
func (n Name) value(key string) (string, bool) {
	if key == "name" {
		return n.Name, true
	}
	value, ok := n.Labels[key]
	switch {
	case key == "version" && value == "":
		return DefaultVersion, true
	case key == "ext" && !ok:
		return DefaultExt, true
	}
	return value, ok
}

// escape percent-encodes what has no place in a URI (RFC 3986 §2), octet by
// octet of its UTF-8.
func escape(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
