package realserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Containerd is a running containerd with a root, a state directory and a
// socket of its own.
type Containerd struct {
	*Process
	// Socket is what `ctr --address` wants.
	Socket string
}

// StartContainerd starts a containerd that keeps everything in dir. Its CRI
// plugin, which looks for networks and other state outside dir, is off.
func StartContainerd(ctx context.Context, dir string) (*Containerd, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of containerd: %w", err)
	}
	socket := filepath.Join(dir, "containerd.sock")
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [%q]\n[grpc]\n  address = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), "io.containerd.grpc.v1.cri", socket)
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("configuration of containerd: %w", err)
	}
	p, err := start(ctx, dir, dialable("unix", socket), "containerd", "--config", file)
	if err != nil {
		return nil, err
	}
	return &Containerd{Process: p, Socket: socket}, nil
}
