package waybill

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/waybill-project/waybill/internal/strictjson"
)

// reader reads one JSON value (spec/waybill.md §3).
type reader struct {
	*strictjson.Reader
}

func newReader(content []byte) (*reader, error) {
	r, err := strictjson.New(content, strictjson.Limits{Depth: MaxDepth, Members: MaxMembers})
	return &reader{r}, err
}

// kinds are those of errors in JSON.
var kinds = map[error]error{strictjson.ErrSyntax: ErrSyntax, strictjson.ErrLimit: ErrLimit, strictjson.ErrType: ErrInvalid}

// ofDocument returns an error as this package makes them.
func ofDocument(err error) error {
	var e *strictjson.Error
	if errors.As(err, &e) {
		return errorf(kinds[e.Kind], e.Path, "%w", e.Err)
	}
	return err
}

// member is what an object may hold.
type member struct {
	name     string
	required bool
	read     func() error
}

// errorf returns an error at the value being read.
func (r *reader) errorf(kind error, format string, args ...any) error {
	return errorf(kind, r.Path(), format, args...)
}

// object reads an object with the given members. Unknown ones are passed over.
func (r *reader) object(members ...member) error {
	var seen uint // a bit for each of members
	err := r.Object(func(key string) error {
		i, err := r.lookUp(key, members)
		if err != nil {
			return err
		}
		if i < 0 {
			return r.Skip()
		}
		seen |= 1 << i
		return members[i].read()
	})
	if err != nil {
		return err
	}
	for i, m := range members {
		if m.required && seen&(1<<i) == 0 {
			return errorf(ErrInvalid, pointer(r.Path()).at(m.name), "missing")
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
			object := r.Path()[:len(r.Path())-1]
			return 0, errorf(ErrSyntax, object, "the key %q differs from %q in case only", key, m.name)
		}
	}
	return -1, nil
}

// array reads an array of at most limit elements.
func (r *reader) array(what string, limit int, element func() error) error {
	return r.Array(what, limit, func(int) error { return element() })
}

// text returns what reads a string into s, of at most limit bytes.
func (r *reader) text(s *string, what string, limit int) func() error {
	return func() error {
		tok, err := r.Token()
		if err != nil {
			return err
		}
		value, ok := tok.(string)
		switch {
		case !ok:
			return r.errorf(ErrInvalid, "%s where a string is wanted", strictjson.Describe(tok))
		case len(value) > limit:
			return tooLong(r.Path(), what, limit)
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
		tok, err := r.Token()
		if err != nil {
			return err
		}
		number, ok := tok.(json.Number)
		if !ok {
			return r.errorf(ErrInvalid, "%s where a whole number is wanted", strictjson.Describe(tok))
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
