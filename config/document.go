package config

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// document is a TOML document and the line of each of its keys.
type document struct {
	root  map[string]any
	names []toml.Key
	lines []int // of names
}

// syntaxError says why a text is not a document we read.
type syntaxError struct {
	line    int
	problem string
}

// Error returns the problem; who knows the file's name adds the line.
func (e *syntaxError) Error() string { return e.problem }

// parse reads TOML. Its errors are *syntaxError.
func parse(text string) (*document, error) {
	// toml reads over some byte order marks and reports what isn't UTF-8 late.
	text = strings.TrimPrefix(text, "\ufeff")
	if i := invalidUTF8(text); i >= 0 {
		return nil, &syntaxError{1 + strings.Count(text[:i], "\n"), "not UTF-8, as TOML has to be"}
	}
	// The limits come first: toml has none on nesting, and takes quadratic
	// time over it.
	lines, err := keyLines(text)
	if err != nil {
		return nil, err
	}
	doc := &document{lines: lines}
	meta, err := toml.Decode(text, &doc.root)
	if e := (toml.ParseError{}); errors.As(err, &e) {
		return nil, &syntaxError{e.Position.Line, "not valid TOML: " + clipTo(200, strings.TrimSuffix(e.Message, "."))}
	}
	if err != nil {
		return nil, &syntaxError{1, "not valid TOML: " + clipTo(200, err.Error())}
	}
	doc.names = meta.Keys()
	if len(doc.names) != len(doc.lines) {
		// FuzzKeyLines has found no such text. Better none than a wrong line.
		return nil, &syntaxError{1, fmt.Sprintf("%d keys were read and %d found; please report this file", len(doc.names), len(doc.lines))}
	}
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

// keys yields every key, tables too, and the line it stands on, in the order of
// the text.
func (d *document) keys() iter.Seq2[toml.Key, int] {
	return func(yield func(toml.Key, int) bool) {
		for i, k := range d.names {
			if !yield(k, d.lines[i]) {
				return
			}
		}
	}
}

// value returns what a key holds; nil where it is within a list.
func (d *document) value(key toml.Key) any {
	var v any = d.root
	for _, name := range key {
		table, _ := v.(map[string]any)
		v = table[name]
	}
	return v
}
