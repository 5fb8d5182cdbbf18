package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// encoding/json matches keys without regard to case and lets the last of several
// duplicates win, where other readers don't. So documents are read token by
// token, and what can be understood in two ways is refused.

// reader reads JSON that is known to be well-formed.
type reader struct {
	dec   *json.Decoder
	depth int
}

// newReader checks that content is one JSON value and returns a reader at its
// beginning.
func newReader(content []byte) (*reader, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("not JSON: it isn't UTF-8")
	}
	var all json.RawMessage
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, syntaxError(content, err)
	}
	return &reader{dec: json.NewDecoder(bytes.NewReader(content))}, nil
}

// syntaxError says where content stops being JSON, and what to do about the
// mistakes the published examples have.
func syntaxError(content []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 1 {
		return fmt.Errorf("not JSON: %w", err)
	}
	at, hint := int(min(syntax.Offset, int64(len(content)))), ""
	before := bytes.TrimRight(content[:at-1], " \t\r\n")
	switch at := content[at-1]; {
	case (at == '}' || at == ']') && bytes.HasSuffix(before, []byte(",")):
		hint = "; there is a comma before it, which JSON doesn't have"
	case bytes.HasSuffix(before, []byte(`\`)):
		hint = `; write a backslash as \\`
	}
	return fmt.Errorf("not JSON at byte %d: %w%s", syntax.Offset, err, hint)
}

// token returns the next token, and counts how deep it is.
func (r *reader) token() (json.Token, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON at byte %d: %w", r.dec.InputOffset(), err)
	}
	switch tok {
	case json.Delim('{'), json.Delim('['):
		if r.depth++; r.depth > MaxDepth {
			return nil, fmt.Errorf("nested deeper than the limit of %d", MaxDepth)
		}
	case json.Delim('}'), json.Delim(']'):
		r.depth--
	}
	return tok, nil
}

// object reads an object. each is called with every key and reads the value.
func (r *reader) object(each func(key string) error) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	return r.members(each)
}

// members reads an object from its first member on.
func (r *reader) members(each func(key string) error) error {
	seen := map[string]bool{}
	for r.dec.More() {
		tok, err := r.token()
		if err != nil {
			return err
		}
		key, _ := tok.(string) // encoding/json lets nothing else be a key
		switch {
		case seen[key]:
			return fmt.Errorf("the key %q is there twice", clip(key))
		case len(seen) == MaxMembers:
			return fmt.Errorf("an object of more members than the limit of %d", MaxMembers)
		}
		seen[key] = true
		if err := each(key); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

// array reads an array of at most limit elements; each reads one.
func (r *reader) array(what string, limit int, each func(i int) error) error {
	if err := r.open('[', "an array"); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for i := 0; r.dec.More(); i++ {
		if i == limit {
			return fmt.Errorf("%s: more entries than the limit of %d", what, limit)
		}
		if err := each(i); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

func (r *reader) open(bracket json.Delim, what string) error {
	tok, err := r.token()
	if err != nil {
		return err
	}
	if tok != bracket {
		return fmt.Errorf("%s where %s is wanted", describe(tok), what)
	}
	return nil
}

// skip passes over a value.
func (r *reader) skip() error {
	_, err := r.value()
	return err
}

// value reads a value and returns its first token.
func (r *reader) value() (json.Token, error) {
	first, err := r.token()
	if err != nil {
		return nil, err
	}
	return first, r.rest(first)
}

// rest passes over what follows the first token of a value.
func (r *reader) rest(first json.Token) error {
	if first != json.Delim('{') && first != json.Delim('[') {
		return nil
	}
	for outside := r.depth - 1; r.depth > outside; {
		if _, err := r.token(); err != nil {
			return err
		}
	}
	return nil
}

// describe says what a token is the beginning of.
func describe(tok json.Token) string {
	switch tok := tok.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case float64:
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

// clip keeps what notes and errors repeat of a document short.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	for i := most; ; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "…"
		}
	}
}
