package realserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Tracker is a running opentracker.
type Tracker struct {
	*Process
	// HTTP and UDP are its announce URLs.
	HTTP, UDP string

	whitelist string
}

// StartTracker starts an opentracker that tracks what it is allowed to; its
// log is kept in dir.
func StartTracker(ctx context.Context, dir string) (*Tracker, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of opentracker: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	t := &Tracker{HTTP: "http://" + addr + "/announce", UDP: "udp://" + addr + "/announce", whitelist: filepath.Join(dir, "whitelist")}
	if err := os.WriteFile(t.whitelist, nil, 0o644); err != nil {
		return nil, fmt.Errorf("whitelist of opentracker: %w", err)
	}
	// It changes its root to dir where it may, and its working directory where
	// it may not.
	t.Process, err = start(ctx, dir, dialable("tcp", addr), "opentracker", "-i", host, "-p", port, "-P", port, "-d", dir, "-w", "whitelist")
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Allow makes it track the torrents with these infohashes, in hexadecimal, and
// no others.
func (t *Tracker) Allow(infohashes ...string) error {
	var list []byte
	for _, h := range infohashes {
		list = fmt.Appendln(list, h)
	}
	if err := os.WriteFile(t.whitelist, list, 0o644); err != nil {
		return fmt.Errorf("whitelist of opentracker: %w", err)
	}
	return syscall.Kill(t.PID(), syscall.SIGHUP)
}
