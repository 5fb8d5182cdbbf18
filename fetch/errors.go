package fetch

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/transport"
)

// Why a blob could not be had. Test with errors.Is.
var (
	// ErrNotFound: no source has the blob.
	ErrNotFound = errors.New("not found at any source")
	// ErrVerification: sources sent the blob, and none sent the right bytes.
	ErrVerification = errors.New("content failed verification at every source")
	// ErrUnavailable: sources that may have it could not be read.
	ErrUnavailable = errors.New("could not be read from any source")
	// ErrRewound: bytes a [Task] reader already handed out turned out wrong
	// and were replaced. What was made of them must be thrown away.
	ErrRewound = errors.New("bytes already read were wrong and have been replaced; start over")
	// ErrOffline: the blob is not in the store, and no source may be asked.
	ErrOffline = errors.New("not in the store")
)

// SourceError is what one source answered.
type SourceError struct {
	URI string // the source's, without any password
	Err error
}

// Error returns one line: the place and what it answered.
func (e SourceError) Error() string {
	return transport.Redact(e.URI) + ": " + reasonOf(e.Err)
}

// Error is why a blob could not be had. Its message is one line; Sources hold
// a line for each source that was tried.
type Error struct {
	Kind    error // one of the Err values of this package, or a local cause
	Digest  digest.Digest
	Sources []SourceError
}

// Error names the blob and what happened.
func (e *Error) Error() string {
	if e.Digest == "" {
		return e.Kind.Error()
	}
	return fmt.Sprintf("blob %s: %v", e.Digest, e.Kind)
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Detail returns the message and below it a line for each source.
func (e *Error) Detail() string {
	var b strings.Builder
	b.WriteString(e.Error())
	for _, s := range e.Sources {
		b.WriteString("\n  " + s.Error())
	}
	return b.String()
}
