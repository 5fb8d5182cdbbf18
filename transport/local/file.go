package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/waybill-project/waybill/transport"
)

// Open opens the regular file name, a slash-separated relative path, below the
// directory dir. uri is for errors, which are [*transport.Error].
func Open(uri, dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, Errorf(uri, err, "directory %s", dir)
	}
	defer root.Close()
	// O_NONBLOCK: opening a named pipe must not wait for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Errorf(uri, err, "%s in %s", name, dir)
	}
	return regular(uri, f)
}

// OpenPath opens the regular file at path, which the user named: a symbolic
// link is followed wherever it leads.
func OpenPath(uri, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Errorf(uri, err, "file %s", path)
	}
	return regular(uri, f)
}

func regular(uri string, f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, Errorf(uri, err, "%s", f.Name())
	}
	return f, nil
}

// ReadFile returns the content of a file as [Open] opens it. One larger than
// limit bytes is [transport.ErrPermanent].
func ReadFile(uri, dir, name string, limit int64) ([]byte, error) {
	f, err := Open(uri, dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, Errorf(uri, err, "%s in %s", name, dir)
	}
	if int64(len(content)) > limit {
		return nil, transport.Errorf(transport.ErrPermanent, uri, "%s in %s is larger than the limit of %d bytes", name, dir, limit)
	}
	return content, nil
}

// Errorf returns an error of the kind that err, from the file system, amounts
// to. The format says what was opened or read.
func Errorf(uri string, err error, format string, args ...any) *transport.Error {
	kind := transport.ErrPermanent
	cause := err
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		cause = pathErr.Err // the path is named by format
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		kind = transport.ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = transport.ErrUnauthorized
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ESTALE),
		errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ETIMEDOUT):
		kind = transport.ErrTemporary
	}
	return transport.Errorf(kind, uri, "%s: %w", fmt.Sprintf(format, args...), cause)
}
