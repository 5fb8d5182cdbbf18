package realserver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Version is a version of BitTorrent.
type Version string

// The versions of BitTorrent.
const (
	V1     Version = "v1"
	V2     Version = "v2"
	Hybrid Version = "hybrid"
)

// debianPython is the interpreter that python3-libtorrent is a module of; the
// one in front on the PATH may be another.
const debianPython = "/usr/bin/python3"

// libtorrentProgram makes torrents and seeds them with libtorrent.
const libtorrentProgram = `
import sys, time
import libtorrent as lt

def create(out, content, version, piece_size, trackers, webseeds):
    fs = lt.file_storage()
    lt.add_files(fs, content)
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[version]
    t = lt.create_torrent(fs, int(piece_size) * 1024, flags)
    for u in filter(None, trackers.split()):
        t.add_tracker(u)
    for u in filter(None, webseeds.split()):
        t.add_url_seed(u)
    lt.set_piece_hashes(t, content.rsplit("/", 1)[0])
    with open(out, "wb") as f:
        f.write(lt.bencode(t.generate()))

def serve(torrent, content, listen, dht):
    s = lt.session({
        "listen_interfaces": listen, "enable_dht": dht == "dht", "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "allow_multiple_connections_per_ip": True, "dht_bootstrap_nodes": "",
        "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_ignore_dark_internet": False,
        "enable_outgoing_utp": False, "enable_incoming_utp": False, "alert_mask": 0,
        "close_redundant_connections": False,
    })
    p = lt.add_torrent_params()
    p.ti = lt.torrent_info(torrent)
    p.save_path = content
    h = s.add_torrent(p)
    while True:
        st = h.status()
        if st.errc.value():
            sys.exit(st.errc.message())
        if st.is_seeding:
            print("ready", flush=True)
            break
        time.sleep(0.02)
    while True:
        time.sleep(3600)

{"create": create, "serve": serve}[sys.argv[1]](*sys.argv[2:])
`

// CreateTorrentVersion makes a torrent file of a file or directory, with
// libtorrent.
func CreateTorrentVersion(ctx context.Context, torrentFile, content string, v Version, o TorrentOptions) error {
	piece := strconv.Itoa(o.PieceSize)
	cmd := exec.CommandContext(ctx, debianPython, "-c", libtorrentProgram, "create", torrentFile, content, string(v), piece, join(o.Trackers), join(o.WebSeeds))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("libtorrent (python3-libtorrent; run scripts/install-test-tools): %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func join(urls []string) string {
	var b bytes.Buffer
	for _, u := range urls {
		b.WriteString(u + " ")
	}
	return b.String()
}

// LibtorrentOptions says how a seeder of libtorrent is to behave.
type LibtorrentOptions struct {
	// Host is the loopback address it listens at; empty means 127.0.0.1.
	Host string
	// DHT switches the DHT on.
	DHT bool
}

// Libtorrent is a running seeder.
type Libtorrent struct {
	*Process
	// Peer is the HOST:PORT at which peers, and by UDP nodes of the DHT, reach
	// it.
	Peer string

	dir  string
	args []string
}

// StartLibtorrent starts a seeder of a torrent whose content is below the
// directory content. Its log is kept in dir.
func StartLibtorrent(ctx context.Context, dir, torrentFile, content string, o LibtorrentOptions) (*Libtorrent, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of libtorrent: %w", err)
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	peer, err := freeAddrAt(o.Host)
	if err != nil {
		return nil, err
	}
	word := func(on bool, w string) string {
		if on {
			return w
		}
		return "-"
	}
	l := &Libtorrent{Peer: peer, dir: dir, args: []string{
		"-c", libtorrentProgram, "serve", torrentFile, content, peer, word(o.DHT, "dht"),
	}}
	return l, l.Start(ctx)
}

// Start starts it again, at the same address, after Stop.
func (l *Libtorrent) Start(ctx context.Context) error {
	log := filepath.Join(l.dir, filepath.Base(debianPython)+".log")
	ready := func() error {
		content, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if !bytes.Contains(content, []byte("ready")) {
			return fmt.Errorf("not seeding yet")
		}
		c, err := net.Dial("tcp", l.Peer)
		if err != nil {
			return err
		}
		return c.Close()
	}
	p, err := start(ctx, l.dir, ready, debianPython, l.args...)
	if err != nil {
		return err
	}
	l.Process = p
	return nil
}
