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
	"strconv"
	"time"
)

// TransmissionOptions says how transmission is to behave.
type TransmissionOptions struct {
	// BytesPerSecond, where positive, limits what it uploads. It counts in
	// kilobytes.
	BytesPerSecond int64
	// Host is the loopback address it listens at; empty means 127.0.0.1.
	Host string
	// PEX and DHT switch these ways of finding peers on.
	PEX, DHT bool
}

// Transmission is a running transmission-daemon.
type Transmission struct {
	*Process
	// Peer is the HOST:PORT at which peers reach it, RPC that of its control.
	Peer, RPC string

	dir     string
	options TransmissionOptions
	session string
	added   []addition
}

// addition is a torrent that was added.
type addition struct {
	metainfo []byte
	content  string
}

// StartTransmission starts a transmission-daemon whose configuration is kept in
// dir. What was added to it before in the same dir is served again.
func StartTransmission(ctx context.Context, dir string, o TransmissionOptions) (*Transmission, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of transmission: %w", err)
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	t := &Transmission{dir: dir, options: o}
	var err error
	if t.Peer, err = freeAddrAt(o.Host); err != nil {
		return nil, err
	}
	if t.RPC, err = freeAddr(); err != nil {
		return nil, err
	}
	return t, t.Start(ctx)
}

// Start starts it again, at the same addresses, after Stop.
func (t *Transmission) Start(ctx context.Context) error {
	if err := t.configure(); err != nil {
		return err
	}
	// A daemon that was killed has often not written down yet where a torrent's
	// content is, and that it had hashed it: it is told anew.
	for _, memory := range []string{"torrents", "resume"} {
		if err := os.RemoveAll(filepath.Join(t.dir, memory)); err != nil {
			return err
		}
	}
	// Both ports must answer: the daemon binds the one of peers a little later.
	ready := func() error {
		if err := dialable("tcp", t.Peer)(); err != nil {
			return err
		}
		return t.call(ctx, "session-get", nil, nil)
	}
	p, err := start(ctx, t.dir, ready, "transmission-daemon", "--foreground", "--config-dir", t.dir, "--no-watch-dir")
	if err != nil {
		return err
	}
	t.Process = p
	for _, a := range t.added {
		if err := t.add(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// configure writes settings.json.
func (t *Transmission) configure() error {
	peerHost, peerPort, _ := net.SplitHostPort(t.Peer)
	_, rpcPort, _ := net.SplitHostPort(t.RPC)
	port := func(s string) int { n, _ := strconv.Atoi(s); return n }
	settings := map[string]any{
		"bind-address-ipv4": peerHost, "bind-address-ipv6": "::1", "peer-port": port(peerPort), "port-forwarding-enabled": false,
		"rpc-bind-address": "127.0.0.1", "rpc-port": port(rpcPort), "rpc-enabled": true, "rpc-authentication-required": false,
		"rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false,
		"dht-enabled": t.options.DHT, "lpd-enabled": false, "pex-enabled": t.options.PEX, "utp-enabled": false,
		"speed-limit-up-enabled": t.options.BytesPerSecond > 0, "speed-limit-up": t.options.BytesPerSecond / 1000,
		"encryption": 1, "incomplete-dir-enabled": false, "message-level": 2, "cache-size-mb": 4,
		"download-dir": filepath.Join(t.dir, "downloads"), "ratio-limit-enabled": false, "idle-seeding-limit-enabled": false,
	}
	content, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(t.dir, "settings.json"), content, 0o600); err != nil {
		return fmt.Errorf("settings of transmission: %w", err)
	}
	return nil
}

// Add makes it serve, or where the content isn't there download, a torrent
// below the directory content. It returns when the torrent is ready: all that
// is there was hashed.
func (t *Transmission) Add(ctx context.Context, torrentFile, content string) error {
	metainfo, err := os.ReadFile(torrentFile)
	if err != nil {
		return err
	}
	a := addition{metainfo, content}
	t.added = append(t.added, a)
	return t.add(ctx, a)
}

func (t *Transmission) add(ctx context.Context, a addition) error {
	var added struct {
		Torrent   struct{ ID int } `json:"torrent-added"`
		Duplicate struct{ ID int } `json:"torrent-duplicate"`
	}
	if err := t.call(ctx, "torrent-add", map[string]any{"metainfo": a.metainfo, "download-dir": a.content, "paused": false}, &added); err != nil {
		return err
	}
	return t.settled(ctx, max(added.Torrent.ID, added.Duplicate.ID))
}

// settled waits until a torrent, or with id 0 every one, is downloading or
// seeding.
func (t *Transmission) settled(ctx context.Context, id int) error {
	for {
		settled, _, err := t.status(ctx, id)
		if err != nil || settled {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.exited:
			return fmt.Errorf("transmission ended:\n%s", t.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Done returns when everything that was added is complete.
func (t *Transmission) Done(ctx context.Context) error {
	for {
		_, left, err := t.status(ctx, 0)
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d bytes left: %w", left, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// status returns whether a torrent is downloading or seeding, and the bytes it
// lacks; with id 0 of all of them together.
func (t *Transmission) status(ctx context.Context, id int) (settled bool, left int64, err error) {
	args := map[string]any{"fields": []string{"status", "leftUntilDone", "errorString", "metadataPercentComplete"}}
	if id != 0 {
		args["ids"] = []int{id}
	}
	var got struct {
		Torrents []struct {
			Status        int
			LeftUntilDone int64
			ErrorString   string
		}
	}
	if err := t.call(ctx, "torrent-get", args, &got); err != nil {
		return false, 0, err
	}
	settled = true
	for _, one := range got.Torrents {
		const downloading, seeding = 4, 6
		settled = settled && (one.Status == downloading || one.Status == seeding)
		left += one.LeftUntilDone
		if one.ErrorString != "" && id != 0 {
			return false, 0, fmt.Errorf("transmission: %s", one.ErrorString)
		}
	}
	return settled, left, nil
}

// call makes a request of transmission's RPC.
func (t *Transmission) call(ctx context.Context, method string, args, answer any) error {
	body, err := json.Marshal(map[string]any{"method": method, "arguments": args})
	if err != nil {
		return err
	}
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+t.RPC+"/transmission/rpc", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-Transmission-Session-Id", t.session)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("transmission: %w", err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusConflict { // it tells which to send
			t.session = resp.Header.Get("X-Transmission-Session-Id")
			continue
		}
		var result struct {
			Result    string
			Arguments json.RawMessage
		}
		if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
			return fmt.Errorf("transmission: %s: %w", resp.Status, err)
		}
		if result.Result != "success" {
			return fmt.Errorf("transmission: %s: %s", method, result.Result)
		}
		if answer == nil {
			return nil
		}
		return json.Unmarshal(result.Arguments, answer)
	}
	return fmt.Errorf("transmission: %s: no session", method)
}

// TorrentOptions says what a torrent file is to say.
type TorrentOptions struct {
	// Trackers are the URLs of trackers, WebSeeds those of web seeds.
	Trackers, WebSeeds []string
	// Private makes it a private torrent.
	Private bool
	// PieceSize is in KiB; zero leaves it to the program.
	PieceSize int
}

// CreateTorrent makes a torrent file of a file or directory, of BitTorrent v1,
// with transmission-create.
func CreateTorrent(ctx context.Context, torrentFile, content string, o TorrentOptions) error {
	args := []string{"--outfile", torrentFile}
	if o.Private {
		args = append(args, "--private")
	}
	if o.PieceSize > 0 {
		args = append(args, "--piecesize", strconv.Itoa(o.PieceSize))
	}
	for _, tracker := range o.Trackers {
		args = append(args, "--tracker", tracker)
	}
	path, err := lookPath("transmission-create")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, path, append(args, content)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("transmission-create: %w: %s", err, bytes.TrimSpace(out))
	}
	return addWebSeeds(torrentFile, o.WebSeeds)
}

// addWebSeeds writes the url-list (BEP 19) into a torrent file, of which
// transmission-create knows nothing: a dictionary whose last key, "info", is
// before it in order.
func addWebSeeds(torrentFile string, urls []string) error {
	if len(urls) == 0 {
		return nil
	}
	content, err := os.ReadFile(torrentFile)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	list.Write(bytes.TrimSuffix(content, []byte("e")))
	list.WriteString("8:url-listl")
	for _, u := range urls {
		fmt.Fprintf(&list, "%d:%s", len(u), u)
	}
	list.WriteString("ee")
	return os.WriteFile(torrentFile, list.Bytes(), 0o644)
}

// freeAddrAt is freeAddr for another address of the loopback network.
func freeAddrAt(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
