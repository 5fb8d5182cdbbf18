package places

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"github.com/waybill-project/waybill/test/realserver"
)

// BitTorrent is transmission seeding the layout, named by a magnet. It lets a new
// peer in at its next turn, every ten seconds.
func BitTorrent(ctx context.Context, dir, layout string) (*Place, error) {
	t, err := track(ctx, dir, layout)
	if err != nil {
		return nil, err
	}
	return t.transmission(ctx, dir, layout, t.file)
}

// TorrentFile is the same, named by a torrent file, which takes seconds less to
// begin with: nobody has to send it. Its tracker knows of the address at which
// the place is enabled, and transmission doesn't tell it of itself.
func TorrentFile(ctx context.Context, dir, layout string) (*Place, error) {
	t, err := track(ctx, dir, layout)
	if err != nil {
		return nil, err
	}
	untracked := filepath.Join(dir, "untracked.torrent")
	if err := realserver.CreateTorrent(ctx, untracked, layout, realserver.TorrentOptions{}); err != nil {
		t.tracker.Stop()
		return nil, err
	}
	p, err := t.transmission(ctx, dir, layout, untracked)
	if err != nil {
		return nil, err
	}
	p.uri = func(string) string { return "torrent:" + t.file }
	enable := p.enable
	p.enable = func(u *User, addr string) error {
		if err := t.tracker.Announce(ctx, t.hash, addr); err != nil {
			return err
		}
		return enable(u, addr)
	}
	return p, nil
}

// FastBitTorrent is libtorrent seeding the layout: it lets every peer in at once,
// and sends as fast as it can.
func FastBitTorrent(ctx context.Context, dir, layout string) (*Place, error) {
	t, err := track(ctx, dir, layout)
	if err != nil {
		return nil, err
	}
	seeder, err := realserver.StartLibtorrent(ctx, dir, realserver.LibtorrentOptions{Host: seederHost})
	if err != nil {
		t.tracker.Stop()
		return nil, err
	}
	p := t.place(seeder.Peer, func() { seeder.Stop(); t.tracker.Stop() }, seeder.Start)
	if err := seeder.Add(ctx, t.file, filepath.Dir(layout)); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// seederHost is an address of the seeder's own: the tracker tells it of itself,
// and it has one connection with an address at a time.
const seederHost = "127.0.0.2"

// transmission has transmission seed the layout by a torrent file; the tracker is
// stopped with it.
func (t *tracked) transmission(ctx context.Context, dir, layout, file string) (*Place, error) {
	seeder, err := realserver.StartTransmission(ctx, dir, realserver.TransmissionOptions{Host: seederHost})
	if err != nil {
		t.tracker.Stop()
		return nil, err
	}
	p := t.place(seeder.Peer, func() { seeder.Stop(); t.tracker.Stop() }, seeder.Start)
	p.Turn = func(ctx context.Context, lead time.Duration) error { return seeder.Turn(ctx, t.hash, lead) }
	if err := seeder.Add(ctx, file, filepath.Dir(layout)); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// tracked is a torrent of a layout, and a tracker that knows it.
type tracked struct {
	tracker *realserver.Tracker
	file    string // the torrent's
	hash    string // the infohash, in hexadecimal
}

// torrentFile is the name of the torrent's file.
const torrentFile = "app.torrent"

func track(ctx context.Context, dir, layout string) (*tracked, error) {
	tracker, err := realserver.StartTracker(ctx, filepath.Join(dir, "tracker"))
	if err != nil {
		return nil, err
	}
	t := &tracked{tracker: tracker, file: filepath.Join(dir, torrentFile)}
	if err := t.create(ctx, layout); err != nil {
		tracker.Stop()
		return nil, err
	}
	return t, nil
}

func (t *tracked) create(ctx context.Context, layout string) error {
	if err := realserver.CreateTorrent(ctx, t.file, layout, realserver.TorrentOptions{Trackers: []string{t.tracker.HTTP}}); err != nil {
		return err
	}
	info, err := metainfo.LoadFromFile(t.file)
	if err != nil {
		return err
	}
	t.hash = info.HashInfoBytes().HexString()
	return t.tracker.Allow(t.hash)
}

// addresses counts those that downloads by aria2c came from.
var addresses atomic.Uint32

// place is the torrent at a seeder.
func (t *tracked) place(peer string, stop func(), start func(context.Context) error) *Place {
	return &Place{
		Name: "BitTorrent", Addr: peer, Stop: stop, Start: start,
		uri: func(addr string) string { return "magnet:?xt=urn:btih:" + t.hash + "&x.pe=" + addr },
		enable: func(u *User, _ string) error {
			// Only the peer that the URI names is to be asked.
			u.Config += "[bittorrent]\nlisten = \"127.0.0.1\"\ndht = false\nlocal-discovery = false\npeer-exchange = false\n"
			return nil
		},
		native: func(_ *User, _, _, to string) []string {
			// From an address of its own each time: a seeding transmission takes no
			// peer again from an address at which one had everything.
			from := fmt.Sprintf("--interface=127.0.2.%d", 1+addresses.Add(1)%250)
			return []string{"aria2c", "--quiet", "--no-conf", from, "--enable-dht=false", "--bt-enable-lpd=false", "--disable-ipv6=true",
				"--seed-time=0", "--bt-stop-timeout=60", "--file-allocation=falloc", "--dir=" + to + ".d", t.file}
		},
	}
}
