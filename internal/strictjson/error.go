package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// What can be wrong. Test with errors.Is; each [Error] wraps exactly one.
var (
	// ErrSyntax: it isn't JSON, or can be understood in several ways.
	ErrSyntax = errors.New("not strict JSON")
	// ErrLimit: a limit is exceeded, which the error names.
	ErrLimit = errors.New("over a limit")
	// ErrType: a value is of another type than is wanted.
	ErrType = errors.New("of another type")
)

// Error says what is wrong, and where in the document.
type Error struct {
	// Kind is one of the Err values of this package.
	Kind error
	// Path leads to the value: keys (strings) and indexes (ints).
	Path []any
	// Err says what is wrong, in one line.
	Err error
}

// Error returns one line: the place, as in "a.b[2]", and what is wrong.
func (e *Error) Error() string {
	var b strings.Builder
	for i, step := range e.Path {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			if strings.ContainsFunc(step, isOdd) || step == "" {
				fmt.Fprintf(&b, "%q", clip(step))
			} else {
				b.WriteString(clip(step))
			}
		}
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	return b.String() + e.Err.Error()
}

// Unwrap returns the kind and the cause, so that errors.Is finds both.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// isOdd reports whether r can't stand in a path as it is.
func isOdd(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`."[]:`, r) }

// errorf returns an error at the value being read.
func (r *Reader) errorf(kind error, format string, args ...any) error {
	return &Error{Kind: kind, Path: slices.Clone(r.path), Err: fmt.Errorf(format, args...)}
}

// notJSON says where content, which isn't JSON, stops being it, and what to do
// about mistakes that people make: a comma after the last element, and a single
// backslash. All of it is read again: where a decoder of tokens stopped isn't told
// exactly.
func notJSON(content []byte) error {
	var all json.RawMessage
	err := json.Unmarshal(content, &all)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 1 {
		return fmt.Errorf("not JSON: %v", err)
	}
	i, hint := int(min(syntax.Offset, int64(len(content)))), ""
	before := bytes.TrimRight(content[:i-1], " \t\r\n")
	switch c := content[i-1]; {
	case (c == '}' || c == ']') && bytes.HasSuffix(before, []byte(",")):
		hint = "; there is a comma before it, which JSON doesn't have"
	case bytes.HasSuffix(before, []byte(`\`)):
		hint = `; write a backslash as \\`
	}
	return fmt.Errorf("not JSON at byte %d: %s%s", syntax.Offset, clip(err.Error()), hint)
}

// Check reports, as an error, that content isn't one JSON value, before anything
// of it is read. Its nesting isn't looked at.
func Check(content []byte) error {
	if !utf8.Valid(content) {
		return &Error{Kind: ErrSyntax, Err: errors.New("not JSON: it isn't UTF-8")}
	}
	if !json.Valid(content) {
		return &Error{Kind: ErrSyntax, Err: notJSON(content)}
	}
	return nil
}

// Describe says what a token is the beginning of: "an array".
func Describe(tok json.Token) string {
	switch tok := tok.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case json.Delim:
		if tok == '[' {
			return "an array"
		}
	}
	return "an object"
}

// clip keeps short what errors repeat of a document.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
