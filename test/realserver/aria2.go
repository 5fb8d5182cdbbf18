package realserver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// aria2Quiet are the arguments that keep aria2 to what it is told.
var aria2Quiet = []string{
	"--no-conf", "--interface=127.0.0.1", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--disable-ipv6=true",
	"--summary-interval=0", "--console-log-level=warn", "--file-allocation=none", "--follow-torrent=mem",
}

// Aria2 is a running aria2c that seeds.
type Aria2 struct {
	*Process
	// Peer is the HOST:PORT at which peers reach it.
	Peer string
}

// StartAria2 starts an aria2c that seeds a torrent whose content is below the
// directory content; its log is kept in dir.
func StartAria2(ctx context.Context, dir, torrentFile, content string) (*Aria2, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of aria2: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"--listen-port=" + port, "--seed-ratio=0.0", "--check-integrity=true", "--enable-peer-exchange=false", "--dir=" + content,
	}, aria2Quiet...)
	p, err := start(ctx, dir, dialable("tcp", addr), "aria2c", append(args, torrentFile)...)
	if err != nil {
		return nil, err
	}
	return &Aria2{Process: p, Peer: addr}, nil
}

// Aria2Download downloads what uri names, a torrent file or a magnet, below the
// directory dir, with aria2c.
func Aria2Download(ctx context.Context, dir, uri string) error {
	path, err := lookPath("aria2c")
	if err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	// Where the tracker knew nobody yet, it would wait half an hour to ask again:
	// it is to give up soon, and is started again.
	args := append([]string{"--seed-time=0", "--bt-stop-timeout=10", "--allow-overwrite=true", "--listen-port=" + port, "--dir=" + dir}, aria2Quiet...)
	var out []byte
	for range 5 {
		attempt, cancel := context.WithTimeout(ctx, 40*time.Second)
		out, err = exec.CommandContext(attempt, path, append(args, uri)...).CombinedOutput()
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("aria2c: %w: %s", err, bytes.TrimSpace(out))
}
