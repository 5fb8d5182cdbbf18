package sftp

import (
	"errors"
	"io"
	"io/fs"
	"strings"

	pkgsftp "github.com/pkg/sftp"

	"github.com/waybill-project/waybill/transport"
)

// errLost says that a connection ended.
var errLost = errors.New("the connection to the server was lost")

// statusFailure is SSH_FX_FAILURE (draft-ietf-secsh-filexfer-02 §7).
const statusFailure = 4

// fileError returns what an error of a request about path means.
func fileError(uri, path string, err error) error {
	var status *pkgsftp.StatusError
	kind, cause := transport.ErrPermanent, err
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind, cause = transport.ErrNotFound, errors.New("no such file there")
	case errors.Is(err, fs.ErrPermission):
		kind, cause = transport.ErrUnauthorized, errors.New("the server denies permission to read it")
	case err == io.EOF: // the protocol's status, as package sftp tells it
		// It was as large as it should be when it was opened.
		cause = shrunk{}
	case errors.As(err, &status):
		if status.Code == statusFailure { // all that has no code of its own: too many open files, an error of the disk
			kind = transport.ErrTemporary
		}
	case strings.HasPrefix(err.Error(), "sftp: unexpected"): // package sftp's, of an answer that is none
	default: // what remains went wrong below the protocol
		kind, cause = transport.ErrTemporary, errLost
	}
	return transport.Errorf(kind, uri, "%s: %w", path, cause)
}

// shrunk says that a file ended before its size.
type shrunk struct{}

// Error returns the text.
func (shrunk) Error() string { return "the file became shorter" }

// Unwrap makes it an [io.ErrUnexpectedEOF].
func (shrunk) Unwrap() error { return io.ErrUnexpectedEOF }
