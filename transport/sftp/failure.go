package sftp

import (
	"errors"
	"io"

	"github.com/waybill-project/waybill/transport"
)

// errLost says that a connection ended.
var errLost = errors.New("the connection to the server was lost")

// fileError returns what an error of a request about path means.
func fileError(uri, path string, err error) error {
	var answer status
	kind, cause := transport.ErrPermanent, err
	switch {
	case errors.Is(err, errLost):
		kind, cause = transport.ErrTemporary, errLost
	case !errors.As(err, &answer): // what the server sent was no answer
	case answer.code == statusNoSuchFile:
		kind, cause = transport.ErrNotFound, errors.New("no such file there")
	case answer.code == statusDenied:
		kind, cause = transport.ErrUnauthorized, errors.New("the server denies permission to read it")
	case answer.code == statusEOF:
		// It was as large as it should be when it was opened.
		cause = shrunk{}
	case answer.code == statusFailure, answer.code == statusLost:
		kind = transport.ErrTemporary
	}
	return transport.Errorf(kind, uri, "%s: %w", path, cause)
}

// shrunk says that a file ended before its size.
type shrunk struct{}

// Error returns the text.
func (shrunk) Error() string { return "the file became shorter" }

// Unwrap makes it an [io.ErrUnexpectedEOF].
func (shrunk) Unwrap() error { return io.ErrUnexpectedEOF }
