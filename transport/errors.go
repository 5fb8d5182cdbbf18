package transport

import (
	"errors"
	"fmt"
	"time"
)

// The kinds of failure a transport may report. Test with errors.Is.
var (
	// ErrNotFound: the place answers, and doesn't have the blob.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized: the place wants credentials there are none of, or
	// refuses those given.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrThrottled: asked too often; Error.RetryAfter says when to come back.
	ErrThrottled = errors.New("throttled")
	// ErrRangeUnsupported: the place only sends whole blobs (an HTTP server
	// answers 200 to a range).
	ErrRangeUnsupported = errors.New("ranges not supported")
	// ErrTemporary: worth asking again (connection reset, 5xx, timeout).
	ErrTemporary = errors.New("temporary failure")
	// ErrPermanent: asking this place for this blob again is pointless (wrong
	// size, other range than asked, content coding, endless body, redirect
	// loop, bad certificate, malformed answer).
	ErrPermanent = errors.New("permanent failure")
	// ErrRefused: local policy forbids asking the place; nothing was sent.
	ErrRefused = errors.New("refused by policy")
)

// Error is what came of asking a place.
type Error struct {
	// Kind is one of the Err values of this package.
	Kind error
	// URI is where it happened: the route's, or that of the hop that failed.
	URI string
	// RetryAfter is how long the place asked to be left alone; zero when it
	// did not say.
	RetryAfter time.Duration
	// Err says what happened.
	Err error
}

// Error returns one line naming the place, without any password.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s: %v", Redact(e.URI), e.Kind)
	}
	return fmt.Sprintf("%s: %v", Redact(e.URI), e.Err)
}

// Unwrap returns the kind and the cause, so that errors.Is finds both.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Errorf returns an [*Error] of the given kind at uri. Passwords in uri are
// not shown.
func Errorf(kind error, uri, format string, args ...any) *Error {
	return &Error{Kind: kind, URI: uri, Err: fmt.Errorf(format, args...)}
}
