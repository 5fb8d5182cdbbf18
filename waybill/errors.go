package waybill

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What can be wrong with a document as a whole. Test with errors.Is; each error
// wraps exactly one, mostly within an [*Error].
var (
	// ErrSyntax: it isn't strict JSON: malformed, not UTF-8, a key twice,
	// something after the end.
	ErrSyntax = errors.New("not strict JSON")
	// ErrLimit: one of the caps of this package is exceeded.
	ErrLimit = errors.New("over a limit")
	// ErrMediaType: its mediaType is something else's.
	ErrMediaType = errors.New("not a waybill")
	// ErrInvalid: a member is missing, of another type, or has a value the
	// specification forbids.
	ErrInvalid = errors.New("invalid")
	// ErrPieces: the hashes of pieces don't fit the blob's size, the digest
	// or one another.
	ErrPieces = errors.New("pieces don't fit")
)

// What can be wrong with one entry of a sound document.
var (
	// ErrRefused: the entry may not be used: its URI or template breaks a
	// rule of spec/waybill.md §5.
	ErrRefused = errors.New("entry refused")
	// ErrUnknown: the entry is of a kind or protocol this package doesn't
	// know, and is ignored.
	ErrUnknown = errors.New("unknown kind of entry")
)

// What can keep a sound document from being in force.
var (
	// ErrExpired: its time is over.
	ErrExpired = errors.New("waybill expired")
	// ErrFuture: it was issued later than now.
	ErrFuture = errors.New("waybill from the future")
	// ErrSuperseded: the same signer has issued one with a higher sequence.
	ErrSuperseded = errors.New("waybill superseded")
	// ErrConflict: the same signer has issued another one with the same
	// sequence.
	ErrConflict = errors.New("conflicting waybills")
	// ErrNotManifest: the manifest isn't one of a waybill.
	ErrNotManifest = errors.New("not a waybill's manifest")
	// ErrSubject: the manifest is about another image.
	ErrSubject = errors.New("waybill of another image")
)

// Error says what is wrong, and where in the document.
type Error struct {
	// Kind is one of the Err values of this package.
	Kind error
	// Where is a JSON pointer (RFC 6901) to the member or element that is
	// wrong; empty for the document as a whole. A member that is missing is
	// named as if it were there.
	Where string
	// Err says what is wrong.
	Err error
}

// Error returns one line: the place and what is wrong.
func (e *Error) Error() string {
	if e.Where == "" {
		return fmt.Sprintf("waybill: %v", e.Err)
	}
	return fmt.Sprintf("waybill, %s: %v", e.Where, e.Err)
}

// Unwrap returns the kind and the cause, so that errors.Is finds both.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// errorf returns an [*Error].
func errorf(kind error, where pointer, format string, args ...any) *Error {
	return &Error{Kind: kind, Where: where.String(), Err: fmt.Errorf(format, args...)}
}

// tooMany returns the error for a list that is longer than it may be.
func tooMany(where pointer, what string, limit int) *Error {
	return errorf(ErrLimit, where, "more than %d %s", limit, what)
}

// tooLong returns the error for a text that is longer than it may be.
func tooLong(where pointer, what string, limit int) *Error {
	return errorf(ErrLimit, where, "%s of more than %d bytes", what, limit)
}

// pointer is a place in a document. Elements are strings and ints. It is
// extended with [pointer.at], which copies, so that one prefix serves many.
type pointer []any

func (p pointer) at(steps ...any) pointer {
	return append(p[:len(p):len(p)], steps...)
}

// String returns the JSON pointer (RFC 6901 §3).
func (p pointer) String() string {
	var b strings.Builder
	for _, step := range p {
		b.WriteByte('/')
		if key, ok := step.(string); ok {
			step = escapePointer.Replace(clip(key))
		}
		fmt.Fprint(&b, step)
	}
	return b.String()
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1", "\n", " ", "\r", " ")

// clip shortens text from a document to what an error may repeat.
func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
