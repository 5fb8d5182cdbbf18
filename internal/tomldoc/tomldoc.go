package tomldoc

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Document is a TOML document and the line of each of its keys.
type Document struct {
	root  map[string]any
	names []toml.Key
	lines []int // of names

	byPath map[string]int // path → line
}

// Error says why a text is not a document we read.
type Error struct {
	// Line is where, counting from 1.
	Line int
	// Problem says what is wrong, on one line.
	Problem string
}

// Error returns the problem; who knows the file's name adds the line.
func (e *Error) Error() string { return e.Problem }

// Parse reads TOML. Its errors are [*Error].
func Parse(text string) (*Document, error) {
	// toml reads over some byte order marks and reports what isn't UTF-8 late.
	text = strings.TrimPrefix(text, "\ufeff")
	if i := invalidUTF8(text); i >= 0 {
		return nil, &Error{1 + strings.Count(text[:i], "\n"), "not UTF-8, as TOML has to be"}
	}
	// The limits come first: toml has none on nesting, and takes quadratic
	// time over it.
	lines, err := keyLines(text)
	if err != nil {
		return nil, err
	}
	doc := &Document{lines: lines}
	meta, err := toml.Decode(text, &doc.root)
	if e := (toml.ParseError{}); errors.As(err, &e) {
		return nil, &Error{e.Position.Line, "not valid TOML: " + clip(200, strings.TrimSuffix(e.Message, "."))}
	}
	if err != nil {
		return nil, &Error{1, "not valid TOML: " + clip(200, err.Error())}
	}
	doc.names = meta.Keys()
	if len(doc.names) != len(doc.lines) {
		// FuzzKeyLines has found no such text. Better none than a wrong line.
		return nil, &Error{1, fmt.Sprintf("%d keys were read and %d found; please report this file", len(doc.names), len(doc.lines))}
	}
	doc.byPath = doc.index()
	return doc, nil
}

// invalidUTF8 returns where text stops being UTF-8, or -1.
func invalidUTF8(text string) int {
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd") {
			return i
		}
	}
	return -1
}

// Root returns the whole document. Tables are map[string]any, lists []any or
// []map[string]any.
func (d *Document) Root() map[string]any { return d.root }

// Keys yields every key, tables too, and the line it stands on, in the order of
// the text. Keys of each table in a list are yielded with the same names.
func (d *Document) Keys() iter.Seq2[toml.Key, int] {
	return func(yield func(toml.Key, int) bool) {
		for i, k := range d.names {
			if !yield(k, d.lines[i]) {
				return
			}
		}
	}
}

// Value returns what a key holds; nil where it is within a list.
func (d *Document) Value(key toml.Key) any {
	var v any = d.root
	for _, name := range key {
		table, _ := v.(map[string]any)
		v = table[name]
	}
	return v
}

// clip shortens s to most bytes.
func clip(most int, s string) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
