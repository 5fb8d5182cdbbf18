package realserver

import (
	"context"
	"fmt"
	"net"
	"os"
)

// Tracker is a running opentracker.
type Tracker struct {
	*Process
	// HTTP and UDP are its announce URLs.
	HTTP, UDP string
}

// StartTracker starts an opentracker for every torrent there is; its log is
// kept in dir.
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
	p, err := start(ctx, dir, dialable("tcp", addr), "opentracker", "-i", host, "-p", port, "-P", port, "-d", dir)
	if err != nil {
		return nil, err
	}
	return &Tracker{Process: p, HTTP: "http://" + addr + "/announce", UDP: "udp://" + addr + "/announce"}, nil
}
