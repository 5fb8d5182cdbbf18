package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// Limits are the caps of one kind of document. Both must be set.
type Limits struct {
	// Depth is how deep objects and arrays may nest, those passed over too.
	Depth int
	// Members is how many members one object may have.
	Members int
}

// Reader reads one JSON value. After an error it is of no more use.
type Reader struct {
	content []byte
	dec     *json.Decoder
	limits  Limits
	path    []any // to the value being read
	depth   int   // of brackets open
}

// New returns a reader at the beginning of content, which must be UTF-8.
func New(content []byte, limits Limits) (*Reader, error) {
	r := &Reader{content: content, dec: json.NewDecoder(bytes.NewReader(content)), limits: limits}
	r.dec.UseNumber() // numbers needn't fit anything yet
	if !utf8.Valid(content) {
		return nil, r.errorf(ErrSyntax, "not JSON: it isn't UTF-8")
	}
	return r, nil
}

// Path returns the path to the value being read, see [Error]. It is good until
// the next value is read.
func (r *Reader) Path() []any { return r.path }

// Token returns the next token, as [json.Decoder.Token] does.
func (r *Reader) Token() (json.Token, error) {
	tok, err := r.dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, r.errorf(ErrSyntax, "not JSON: it ends at byte %d, in the middle", r.dec.InputOffset())
	}
	if err != nil {
		return nil, r.errorf(ErrSyntax, "%w", notJSON(r.content))
	}
	switch tok {
	case json.Delim('{'), json.Delim('['):
		if r.depth++; r.depth > r.limits.Depth {
			return nil, r.errorf(ErrLimit, "nested deeper than %d", r.limits.Depth)
		}
	case json.Delim('}'), json.Delim(']'):
		r.depth--
	}
	return tok, nil
}

// End reads that nothing follows the value.
func (r *Reader) End() error {
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return r.errorf(ErrSyntax, "something follows the document at byte %d", r.dec.InputOffset())
	}
	return nil
}

// open reads the bracket that begins an object or array.
func (r *Reader) open(bracket json.Delim) error {
	tok, err := r.Token()
	if err == nil && tok != bracket {
		err = r.errorf(ErrType, "%s where %s is wanted", Describe(tok), Describe(bracket))
	}
	return err
}

// Object reads an object. each is called with every key, in the order of the
// document, and reads the value.
func (r *Reader) Object(each func(key string) error) error {
	if err := r.open('{'); err != nil {
		return err
	}
	return r.Members(each)
}

// Members reads an object of which the bracket is read already.
func (r *Reader) Members(each func(key string) error) error {
	var seen keys
	for n := 0; r.dec.More(); n++ {
		tok, err := r.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string) // encoding/json lets nothing else be a key
		switch {
		case n == r.limits.Members:
			return r.errorf(ErrLimit, "more than %d members in one object", r.limits.Members)
		case !seen.add(key):
			return r.errorf(ErrSyntax, "the key %q is there twice", clip(key))
		}
		if err := r.below(key, func() error { return each(key) }); err != nil {
			return err
		}
	}
	_, err := r.Token()
	return err
}

// Array reads an array of at most limit elements, which an error calls by what.
// each reads one.
func (r *Reader) Array(what string, limit int, each func(i int) error) error {
	if err := r.open('['); err != nil {
		return err
	}
	return r.elements(what, limit, each)
}

// elements reads an array of which the bracket is read already.
func (r *Reader) elements(what string, limit int, each func(i int) error) error {
	for i := 0; r.dec.More(); i++ {
		if i == limit {
			return r.errorf(ErrLimit, "more than %d %s", limit, what)
		}
		if err := r.below(i, func() error { return each(i) }); err != nil {
			return err
		}
	}
	_, err := r.Token()
	return err
}

// below reads a value with read, one step further down.
func (r *Reader) below(step any, read func() error) error {
	r.path = append(r.path, step)
	if err := read(); err != nil {
		return err
	}
	r.path = r.path[:len(r.path)-1]
	return nil
}

// Skip passes over a value. It is still strict JSON, within the limits.
func (r *Reader) Skip() error {
	_, err := r.Value()
	return err
}

// Value reads a value and returns its first token: all there is of a string,
// number, boolean or null.
func (r *Reader) Value() (json.Token, error) {
	first, err := r.Token()
	if err != nil {
		return nil, err
	}
	return first, r.Rest(first)
}

// Rest passes over what follows the first token of a value.
func (r *Reader) Rest(first json.Token) error {
	switch first {
	case json.Delim('{'):
		return r.Members(func(string) error { return r.Skip() })
	case json.Delim('['):
		return r.elements("elements", len(r.content), func(int) error { return r.Skip() })
	}
	return nil
}

// Raw returns a value as it is written. Whoever reads it does so with a Reader of
// its own: neither its keys nor its nesting were looked at.
func (r *Reader) Raw() (json.RawMessage, error) {
	var raw json.RawMessage
	if err := r.dec.Decode(&raw); err != nil {
		return nil, r.errorf(ErrSyntax, "%w", notJSON(r.content))
	}
	return raw, nil
}

// keys are those of one object. Most have few.
type keys struct {
	few  [8]string
	n    int
	many map[string]bool
}

// add adds a key, and reports whether it is new.
func (k *keys) add(key string) bool {
	for _, have := range k.few[:k.n] {
		if have == key {
			return false
		}
	}
	switch {
	case k.n < len(k.few):
		k.few[k.n] = key
		k.n++
		return true
	case k.many == nil:
		k.many = map[string]bool{}
	}
	if k.many[key] {
		return false
	}
	k.many[key] = true
	return true
}
