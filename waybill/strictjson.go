package waybill

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
)

// encoding/json matches keys without regard to case, lets the last of several
// duplicates win and takes null for anything, where other readers don't. So the
// document is read token by token: what is accepted here can be understood in
// one way only, and what is too much is refused where it begins.

// reader reads one JSON value.
type reader struct {
	dec  *json.Decoder
	path pointer // of the value being read
}

func newReader(content []byte) *reader {
	r := &reader{dec: json.NewDecoder(bytes.NewReader(content))}
	r.dec.UseNumber() // numbers needn't fit anything yet
	return r
}

// member is what an object may hold.
type member struct {
	name     string
	required bool
	read     func() error
}

// errorf returns an error at the value being read.
func (r *reader) errorf(kind error, format string, args ...any) error {
	return errorf(kind, r.path, format, args...)
}

// token returns the next token.
func (r *reader) token() (json.Token, error) {
	tok, err := r.dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, r.errorf(ErrSyntax, "not JSON: it ends at byte %d, in the middle", r.dec.InputOffset())
	}
	if err != nil {
		return nil, r.errorf(ErrSyntax, "not JSON at byte %d: %s", r.dec.InputOffset(), clip(err.Error()))
	}
	return tok, nil
}

// end reads that nothing follows.
func (r *reader) end() error {
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return r.errorf(ErrSyntax, "something follows the document at byte %d", r.dec.InputOffset())
	}
	return nil
}

// open reads the bracket that begins an object or array. Every value that may
// nest passes here, the path is as long as it is deep.
func (r *reader) open(bracket json.Delim, what string) error {
	tok, err := r.token()
	if err != nil {
		return err
	}
	if tok != bracket {
		return r.errorf(ErrInvalid, "%s where %s is wanted", describe(tok), what)
	}
	return r.checkDepth()
}

func (r *reader) checkDepth() error {
	if len(r.path) >= MaxDepth {
		return r.errorf(ErrLimit, "nested deeper than %d", MaxDepth)
	}
	return nil
}

// object reads an object with the given members. Unknown ones are passed over.
func (r *reader) object(members ...member) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	return r.members(members)
}

// members reads an object from its first member on.
func (r *reader) members(members []member) error {
	var (
		seen    uint            // a bit for each of members
		unknown map[string]bool // that were seen
	)
	for n := 0; r.dec.More(); n++ {
		tok, err := r.token()
		if err != nil {
			return err
		}
		if n == MaxMembers {
			return tooMany(r.path, "members in one object", MaxMembers)
		}
		key, _ := tok.(string) // encoding/json lets nothing else be a key
		i, err := r.lookUp(key, members)
		if err != nil {
			return err
		}
		read, again := r.skip, unknown[key]
		if i >= 0 {
			read, again = members[i].read, seen&(1<<i) != 0
			seen |= 1 << i
		} else if unknown == nil {
			unknown = map[string]bool{key: true}
		} else {
			unknown[key] = true
		}
		if again {
			return r.errorf(ErrSyntax, "the key %q is there twice", clip(key))
		}
		if err := r.below(key, read); err != nil {
			return err
		}
	}
	if _, err := r.token(); err != nil {
		return err
	}
	for i, m := range members {
		if m.required && seen&(1<<i) == 0 {
			return errorf(ErrInvalid, r.path.at(m.name), "missing")
		}
	}
	return nil
}

// lookUp returns which of members is called key, -1 for none.
func (r *reader) lookUp(key string, members []member) (int, error) {
	for i, m := range members {
		if m.name == key {
			return i, nil
		}
		if strings.EqualFold(m.name, key) {
			return 0, r.errorf(ErrSyntax, "the key %q differs from %q in case only", key, m.name)
		}
	}
	return -1, nil
}

// below reads a value with read, one step further down.
func (r *reader) below(step any, read func() error) error {
	r.path = append(r.path, step)
	if err := read(); err != nil {
		return err
	}
	r.path = r.path[:len(r.path)-1]
	return nil
}

// array reads an array of at most limit elements.
func (r *reader) array(what string, limit int, element func() error) error {
	if err := r.open('[', "an array"); err != nil {
		return err
	}
	return r.elements(what, limit, element)
}

// elements reads an array from its first element on.
func (r *reader) elements(what string, limit int, element func() error) error {
	for i := 0; r.dec.More(); i++ {
		if i == limit {
			return tooMany(r.path, what, limit)
		}
		if err := r.below(i, element); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

// skip passes over a value nobody asked for. It is still strict JSON.
func (r *reader) skip() error {
	tok, err := r.token()
	if err != nil {
		return err
	}
	switch tok {
	case json.Delim('{'):
		if err := r.checkDepth(); err != nil {
			return err
		}
		return r.members(nil)
	case json.Delim('['):
		if err := r.checkDepth(); err != nil {
			return err
		}
		return r.elements("elements", MaxDocument, r.skip)
	}
	return nil
}

// text returns what reads a string into s, of at most limit bytes.
func (r *reader) text(s *string, what string, limit int) func() error {
	return func() error {
		tok, err := r.token()
		if err != nil {
			return err
		}
		value, ok := tok.(string)
		switch {
		case !ok:
			return r.errorf(ErrInvalid, "%s where a string is wanted", describe(tok))
		case len(value) > limit:
			return tooLong(r.path, what, limit)
		case value == "":
			return r.errorf(ErrInvalid, "an empty string; leave it out")
		}
		*s = value
		return nil
	}
}

// integer returns what reads a whole number from least to most into n. It is
// written in plain digits: 1e3 and 1.0 are refused, since readers differ on
// whether those are whole.
func (r *reader) integer(n *int64, least, most int64) func() error {
	return func() error {
		tok, err := r.token()
		if err != nil {
			return err
		}
		number, ok := tok.(json.Number)
		if !ok {
			return r.errorf(ErrInvalid, "%s where a whole number is wanted", describe(tok))
		}
		value, err := strconv.ParseInt(number.String(), 10, 64)
		switch {
		case errors.Is(err, strconv.ErrSyntax) || number.String() == "-0":
			return r.errorf(ErrInvalid, "the number %s isn't whole or isn't written in plain digits", clip(number.String()))
		case err != nil || value < least || value > most:
			return r.errorf(ErrInvalid, "the number %s isn't from %d to %d", clip(number.String()), least, most)
		}
		*n = value
		return nil
	}
}

// describe says what a token is the beginning of.
func describe(tok json.Token) string {
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
