package realserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// KuboOptions says what is special about a kubo.
type KuboOptions struct {
	// Config holds settings by key, as "ipfs config --json KEY VALUE" takes
	// them.
	Config map[string]any
}

// Kubo is a running kubo, an IPFS node that knows no other. Its gateway answers
// plainly, trustlessly and, below /routing/v1, as a delegated router.
type Kubo struct {
	*Process
	// Gateway is the base URL of its gateway, without a slash at the end.
	Gateway string
	// Repo is its repository, what IPFS_PATH means.
	Repo string

	dir string
}

// StartKubo makes a repository in dir and starts a kubo on it.
func StartKubo(ctx context.Context, dir string, o KuboOptions) (*Kubo, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of kubo: %w", err)
	}
	k := &Kubo{dir: dir, Repo: filepath.Join(dir, "repo")}
	if _, err := k.Run(ctx, "init", "--profile=test"); err != nil {
		return nil, err
	}
	settings := map[string]any{"Gateway.ExposeRoutingAPI": true}
	for _, what := range []string{"Gateway", "API"} {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(addr)
		settings["Addresses."+what] = "/ip4/127.0.0.1/tcp/" + port
		if what == "Gateway" {
			k.Gateway = "http://" + addr
		}
	}
	for key, value := range o.Config {
		settings[key] = value
	}
	for key, value := range settings {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("setting %s of kubo: %w", key, err)
		}
		if _, err := k.Run(ctx, "config", "--json", key, string(text)); err != nil {
			return nil, err
		}
	}
	return k, k.Start(ctx)
}

// Start starts it again, after Stop, on the same repository and ports.
func (k *Kubo) Start(ctx context.Context) error {
	var err error
	k.Process, err = start(ctx, k.dir, k.ready, "ipfs", "--repo-dir", k.Repo, "daemon", "--offline")
	return err
}

// ready reports whether the gateway answers and the commands see the daemon.
func (k *Kubo) ready() error {
	// The empty block, which its CID holds itself.
	const empty = "/ipfs/bafkqaaa?format=raw"
	client := http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(k.Gateway + empty)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answers %s", resp.Status)
	}
	_, err = os.Stat(filepath.Join(k.Repo, "gateway"))
	return err
}

// Command returns the command "ipfs ARGS…" on its repository, to be run in the
// directory it was started in.
func (k *Kubo) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := lookPath("ipfs")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--repo-dir", k.Repo}, args...)...)
	cmd.Dir = k.dir
	return cmd, nil
}

// Run runs "ipfs ARGS…" and returns what it printed, trimmed.
func (k *Kubo) Run(ctx context.Context, args ...string) (string, error) {
	cmd, err := k.Command(ctx, args...)
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ipfs %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// addDefaults are the options of Add that others may replace: those of current
// profiles.
var addDefaults = []string{"--cid-version=1", "--raw-leaves=true", "--chunker=size-1048576"}

// Add adds a file or directory by "ipfs add" as current profiles do (CIDv1, raw
// leaves of 1 MiB) unless more options say otherwise, and returns its CID.
func (k *Kubo) Add(ctx context.Context, path string, more ...string) (string, error) {
	args := append([]string{"add", "--quieter", "--recursive"}, more...)
	for _, option := range addDefaults {
		key, _, _ := strings.Cut(option, "=")
		if !slices.ContainsFunc(more, func(o string) bool { return strings.HasPrefix(o, key+"=") }) {
			args = append(args, option)
		}
	}
	return k.Run(ctx, append(args, path)...)
}
