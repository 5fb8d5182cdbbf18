package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A ref's name becomes a path refs/<repository>/<tag>.json, so that docker.io/
// library/alpine:3 is refs/docker.io/library/alpine/3.json. Names are any text,
// and filesystems are not: some fold case or normalise Unicode, all give a
// meaning to "." and "..", and an element may have 255 bytes. Therefore
//
//   - bytes other than a-z 0-9 - _ + , and a "." that isn't first in its
//     element are written %xx;
//   - an element that is empty is written %;
//   - an element of more than maxElement bytes is cut into several, with %- at
//     both sides of each cut;
//   - the last "." of a directory that ends in .json is written %2e, so that no
//     directory is ever named like a ref;
//   - the tag is what follows the first : or @ after the last slash: x for :x,
//     with its separator (%40…) for @x, and % where there is none.
//
// refName undoes it. Each name has one path and each path at most one name.
const (
	maxRefName = 1024 // bytes of a name; its path then is within PATH_MAX
	maxElement = 200  // bytes of an element of the path, without suffixes
	refSuffix  = ".json"
	noTag      = "%"
	cutMark    = "%-"
)

// checkRefName tells whether name may be a ref's: neither empty nor too long,
// and text.
func checkRefName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("ref name is empty")
	case len(name) > maxRefName:
		return fmt.Errorf("ref name %s: more than %d bytes", quoteShort(name), maxRefName)
	case !utf8.ValidString(name):
		return fmt.Errorf("ref name %s: not UTF-8", quoteShort(name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("ref name %s: has control characters", quoteShort(name))
	}
	return nil
}

// refPath returns the path of a ref below refs/.
func refPath(name string) string {
	repository, tag := splitRef(name)
	var path []string
	for element := range strings.SplitSeq(repository, "/") {
		encoded := escape(element)
		if strings.HasSuffix(encoded, refSuffix) {
			encoded = strings.TrimSuffix(encoded, refSuffix) + "%2ejson"
		}
		path = append(path, cutElement(encoded)...)
	}
	file := noTag
	switch {
	case strings.HasPrefix(tag, ":") && len(tag) > 1 && tag[1] != ':' && tag[1] != '@':
		file = escape(tag[1:])
	case tag != "":
		file = escape(tag)
	}
	path = append(path, cutElement(file)...)
	return filepath.Join(path...) + refSuffix
}

// refName returns the name whose path below refs/ is path, if there is one.
func refName(path string) (string, bool) {
	elements := strings.Split(strings.TrimSuffix(path, refSuffix), "/")
	var decoded []string
	var pending string
	for i, element := range elements {
		if pending != "" {
			element = strings.TrimPrefix(element, cutMark)
		}
		if more, ok := strings.CutSuffix(element, cutMark); ok {
			pending += more
			continue
		}
		whole := pending + element
		pending = ""
		if i == len(elements)-1 && whole == noTag {
			decoded = append(decoded, "")
			continue
		}
		text, ok := unescape(whole)
		if !ok {
			return "", false
		}
		if i == len(elements)-1 && !strings.HasPrefix(text, ":") && !strings.HasPrefix(text, "@") {
			text = ":" + text
		}
		decoded = append(decoded, text)
	}
	if len(decoded) < 2 {
		return "", false
	}
	last := len(decoded) - 1
	name := strings.Join(decoded[:last], "/") + decoded[last]
	// What is written otherwise than refPath would isn't ours.
	return name, checkRefName(name) == nil && refPath(name) == path
}

// splitRef cuts a name before its tag; together the parts are the name.
func splitRef(name string) (repository, tag string) {
	base := strings.LastIndexByte(name, '/') + 1
	if i := strings.IndexAny(name[base:], ":@"); i >= 0 {
		return name[:base+i], name[base+i:]
	}
	return name, ""
}

// cutElement cuts an encoded element into those of a path.
func cutElement(encoded string) []string {
	var parts []string
	mark := ""
	for len(encoded) > maxElement {
		parts = append(parts, mark+encoded[:maxElement]+cutMark)
		encoded, mark = encoded[maxElement:], cutMark
	}
	return append(parts, mark+encoded)
}

func escape(element string) string {
	if element == "" {
		return "%"
	}
	var b strings.Builder
	for i := 0; i < len(element); i++ {
		switch c := element[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("-_+,", c) >= 0, c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func unescape(encoded string) (string, bool) {
	if encoded == "%" {
		return "", true
	}
	var b []byte
	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		if c == '%' {
			if i+2 >= len(encoded) {
				return "", false
			}
			high, low := strings.IndexByte(hexDigits, encoded[i+1]), strings.IndexByte(hexDigits, encoded[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

const hexDigits = "0123456789abcdef"
