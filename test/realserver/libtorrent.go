package realserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
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
import os, sys, time
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

def add(session, job, done):
    # Once it has checked what is there: also where that isn't all.
    torrent, content, trusted = open(job).read().split("\n")[:3]
    p = lt.add_torrent_params()
    p.ti = lt.torrent_info(torrent)
    p.save_path = content
    p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if trusted == "trusted":
        p.flags |= lt.torrent_flags.seed_mode
    h = session.add_torrent(p)
    while True:
        st = h.status()
        if st.errc.value():
            return done(st.errc.message())
        if st.state in (lt.torrent_status.downloading, lt.torrent_status.seeding, lt.torrent_status.finished):
            return done("ok")
        time.sleep(0.01)

def serve(spool, listen, dht, encryption):
    forced = {"in_enc_policy": 0, "out_enc_policy": 0, "allowed_enc_level": 2} if encryption == "rc4" else {}
    s = lt.session(forced | {
        "listen_interfaces": listen, "enable_dht": dht == "dht", "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "allow_multiple_connections_per_ip": True, "dht_bootstrap_nodes": "",
        "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_ignore_dark_internet": False,
        "enable_outgoing_utp": False, "enable_incoming_utp": False, "alert_mask": 0,
        "close_redundant_connections": False,
        # Every peer may download at once.
        "unchoke_slots_limit": -1, "unchoke_interval": 1,
    })
    added = set()
    while True:
        for job in sorted(os.listdir(spool)):
            if not job.endswith(".job") or job in added:
                continue
            added.add(job)
            answer = os.path.join(spool, job[:-4])
            def done(word):
                with open(answer + ".part", "w") as f:
                    f.write(word)
                os.rename(answer + ".part", answer + ".done")
            try:
                add(s, os.path.join(spool, job), done)
            except Exception as e:
                done(str(e))
        time.sleep(0.02)

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
	// Encrypted makes it take encrypted connections only.
	Encrypted bool
}

// Libtorrent is a running seeder. It lets every peer download at once.
type Libtorrent struct {
	*Process
	// Peer is the HOST:PORT at which peers, and by UDP nodes of the DHT, reach
	// it.
	Peer string

	// spool holds a file N.job for each torrent that was added, and N.done once
	// it is served: "ok", or what is wrong.
	dir, spool string
	args       []string
	jobs       int
}

// StartLibtorrent starts a seeder. Its log is kept in dir.
func StartLibtorrent(ctx context.Context, dir string, o LibtorrentOptions) (*Libtorrent, error) {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	peer, err := freeAddrAt(o.Host)
	if err != nil {
		return nil, err
	}
	dht := "no dht"
	if o.DHT {
		dht = "dht"
	}
	l := &Libtorrent{Peer: peer, dir: dir, spool: filepath.Join(dir, "spool")}
	if err := os.MkdirAll(l.spool, 0o755); err != nil {
		return nil, fmt.Errorf("directory of libtorrent: %w", err)
	}
	encryption := "any"
	if o.Encrypted {
		encryption = "rc4"
	}
	l.args = []string{"-c", libtorrentProgram, "serve", l.spool, peer, dht, encryption}
	return l, l.Start(ctx)
}

// Start starts it again, at the same address and with the same torrents, after
// Stop.
func (l *Libtorrent) Start(ctx context.Context) error {
	for n := range l.jobs {
		if err := os.Remove(l.job(n, "done")); err != nil {
			return err
		}
	}
	p, err := start(ctx, l.dir, dialable("tcp", l.Peer), debianPython, l.args...)
	if err != nil {
		return err
	}
	l.Process = p
	for n := range l.jobs {
		if err := l.added(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Add makes it seed what there is of a torrent's content below the directory
// content.
func (l *Libtorrent) Add(ctx context.Context, torrentFile, content string) error {
	return l.add(ctx, torrentFile, content, "checked")
}

// AddUnchecked is Add for content that is known to be right and is too large to
// be hashed now.
func (l *Libtorrent) AddUnchecked(ctx context.Context, torrentFile, content string) error {
	return l.add(ctx, torrentFile, content, "trusted")
}

func (l *Libtorrent) add(ctx context.Context, torrentFile, content, how string) error {
	n := l.jobs
	l.jobs++
	part := l.job(n, "new")
	if err := os.WriteFile(part, []byte(torrentFile+"\n"+content+"\n"+how+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(part, l.job(n, "job")); err != nil {
		return err
	}
	return l.added(ctx, n)
}

func (l *Libtorrent) job(n int, suffix string) string {
	return filepath.Join(l.spool, fmt.Sprintf("%04d.%s", n, suffix))
}

// added waits until the nth torrent is served.
func (l *Libtorrent) added(ctx context.Context, n int) error {
	for {
		word, err := os.ReadFile(l.job(n, "done"))
		switch {
		case err == nil && string(word) == "ok":
			return nil
		case err == nil:
			return fmt.Errorf("libtorrent: %s", word)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.exited:
			return fmt.Errorf("libtorrent ended:\n%s", l.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
