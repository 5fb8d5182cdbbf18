package realserver

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
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

// Announce tells the tracker of a seeder at HOST:PORT. To a tracker a peer is at
// the address that it is told from, so HOST has to be the one of a loopback
// connection without an address of its own: 127.0.0.1.
func (t *Tracker) Announce(ctx context.Context, infohash, addr string) error {
	hash, err := hex.DecodeString(infohash)
	if err != nil {
		return fmt.Errorf("infohash %s: %w", infohash, err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	q := url.Values{
		"info_hash": {string(hash)}, "peer_id": {"-WB0000-announcement"}, "port": {port},
		"uploaded": {"0"}, "downloaded": {"0"}, "left": {"0"}, "compact": {"1"}, "event": {"started"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.HTTP+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("announce to opentracker: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("announce to opentracker: %s", resp.Status)
	}
	return nil
}
