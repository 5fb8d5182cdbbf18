package store

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// syncData makes f's content durable, and of what describes it only the length.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// startWriteback has the kernel begin to write what is dirty of f, so that the
// next sync finds little left to do. It promises nothing, and leaves errors to
// that sync.
func startWriteback(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) { unix.SyncFileRange(int(fd), 0, 0, unix.SYNC_FILE_RANGE_WRITE) })
}

// allocate reserves disk space for size bytes of f and makes it that long. Its
// error is errors.ErrUnsupported where the filesystem can't.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return errors.ErrUnsupported
		}
		return os.NewSyscallError("fallocate", err)
	}
}

// bootID names this boot of the machine; a file written in another boot may
// lack what that boot had not yet synced.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
