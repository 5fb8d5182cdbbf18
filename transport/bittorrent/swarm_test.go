package bittorrent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent"
	"github.com/waybill-project/waybill/transport/filetree"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	for _, v := range []realserver.Version{realserver.V1, realserver.V2, realserver.Hybrid} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			// A layout: pieces of v1 lie over files, those of v2 don't.
			dir := t.TempDir()
			b := transporttest.NewBlob(11, 3<<20+77)
			layout := beside(t, dir, b)
			f := file(t, layout, v)
			s := libtorrent(t, realserver.LibtorrentOptions{})
			serve(t, s, f, dir)
			tr := newTransport(t, loopback())
			pull(t, tr, magnet(t, f, s.Peer), b)
			pull(t, tr, "torrent:"+f, b) // known by now; the path of its file does
			pull(t, tr, magnet(t, f, s.Peer)+"#blobs/sha256/"+b.Digest.Encoded(), b)
		})
	}
}

func TestSmallBlobByPiecesRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := transporttest.NewBlob(12, 9000)
	os.MkdirAll(filepath.Join(dir, "d"), 0o755)
	b.WriteFile(t, filepath.Join(dir, "d", "config.json"))
	transporttest.NewBlob(13, 9000).WriteFile(t, filepath.Join(dir, "d", "other"))
	f := file(t, filepath.Join(dir, "d"), realserver.V2)
	s := libtorrent(t, realserver.LibtorrentOptions{})
	serve(t, s, f, dir)
	pull(t, newTransport(t, loopback()), magnet(t, f, s.Peer), b)
}

func TestTrackers(t *testing.T) {
	t.Parallel()
	tracker, err := realserver.StartTracker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracker.Stop)
	b := transporttest.NewBlob(14, 2<<20)
	dir := t.TempDir()
	content := blobFile(t, dir, b)
	for scheme, url := range map[string]string{"http": tracker.HTTP, "udp": tracker.UDP} {
		t.Run(scheme, func(t *testing.T) {
			f := create(t, content, realserver.TorrentOptions{Trackers: []string{url}, Private: scheme == "udp"})
			allow(t, tracker, f)
			s := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.9"})
			serve(t, s, f, dir)
			pull(t, newTransport(t, loopback()), "torrent:"+f, b)
		})
	}
}

// allow makes the tracker track torrents.
func allow(t testing.TB, tracker *realserver.Tracker, torrentFile string) {
	t.Helper()
	mi, err := metainfo.LoadFromFile(torrentFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := tracker.Allow(mi.HashInfoBytes().HexString()); err != nil {
		t.Fatal(err)
	}
}

// liar starts a seeder of a torrent whose content was changed since it was
// hashed.
func liar(t *testing.T, torrentFile string, b transporttest.Blob, host string) *realserver.Libtorrent {
	t.Helper()
	dir := t.TempDir()
	path := blobFile(t, dir, b)
	s := libtorrent(t, realserver.LibtorrentOptions{Host: host})
	serve(t, s, torrentFile, dir)
	wrong := b.Bytes()
	for i := range wrong {
		wrong[i] ^= 0x55
	}
	if err := os.WriteFile(path, wrong, 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLiarIsBanned(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(15, 8<<20)
	dir := t.TempDir()
	f := file(t, blobFile(t, dir, b), realserver.V1)
	lying := liar(t, f, b, "127.0.0.66")
	o := loopback()
	o.StallTimeout = 5 * time.Second
	tr := newTransport(t, o)
	err := pullRange(t.Context(), tr, magnet(t, f, lying.Peer), b, 0, b.Size)
	if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), "1 banned for wrong pieces") {
		t.Errorf("with a liar only: %v", err)
	}
	honest := libtorrent(t, realserver.LibtorrentOptions{})
	serve(t, honest, f, dir)
	pull(t, tr, magnet(t, f, lying.Peer, honest.Peer), b)
	if banned := tr.Stats().Banned; !slices.Contains(banned, "127.0.0.66") || len(banned) != 1 {
		t.Errorf("banned are %v", banned)
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(16, 1<<20)
	f := create(t, blobFile(t, t.TempDir(), b), realserver.TorrentOptions{Trackers: []string{"udp://127.0.0.1:9/announce"}})
	o := loopback()
	o.StallTimeout, o.MetadataTimeout = 4*time.Second, 4*time.Second
	tr := newTransport(t, o)
	for _, c := range []struct{ name, uri, want string }{
		{"file", "torrent:" + f, "nobody has sent anything of the torrent for 4s; 0 peers known, 0 connected, "},
		{"magnet", magnet(t, f) + "&tr=http://127.0.0.1:9/", "0 peers known, 0 connected, "},
		// Who waited in vain for nobody doesn't wait as long again.
		{"again", "torrent:" + f, "nobody has sent anything of the torrent for 3s; "},
	} {
		err := pullRange(t.Context(), tr, c.uri, b, 0, b.Size)
		if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestDeadPeer: the error says why a peer couldn't be reached.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(17, 1<<20)
	f := create(t, blobFile(t, t.TempDir(), b), realserver.TorrentOptions{})
	o := loopback()
	o.MetadataTimeout = 5 * time.Second
	err := pullRange(t.Context(), newTransport(t, o), magnet(t, f, "127.0.0.1:9"), b, 0, b.Size)
	const want = "1 peers known, 0 connected, 127.0.0.1:9: connect: connection refused, no trackers"
	if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %q", err, want)
	}
}

// seeder returns a transport that seeds b from memory.
func seeder(t *testing.T, o bittorrent.Options, b transporttest.Blob) *bittorrent.Transport {
	o.Seed = true
	o.Content = func(d digest.Digest) (bittorrent.Content, int64, bool) {
		return nopContent{bytes.NewReader(b.Bytes())}, b.Size, d == b.Digest
	}
	return newTransport(t, o)
}

type nopContent struct{ io.ReaderAt }

func (nopContent) Close() error { return nil }

// seeding seeds b with tr until the test ends.
func seeding(t *testing.T, tr *bittorrent.Transport, uri string, b transporttest.Blob) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tr.Seed(ctx, uri, b.Descriptor()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Seed ended with %v", err)
		}
	})
}

// That aria2 downloads from this program too is shown in test/e2e.
func TestSeed(t *testing.T) {
	t.Parallel()
	tracker, err := realserver.StartTracker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracker.Stop)
	b := transporttest.NewBlob(18, 12<<20+1)
	f := create(t, blobFile(t, t.TempDir(), b), realserver.TorrentOptions{Trackers: []string{tracker.HTTP}})
	allow(t, tracker, f)
	tr := seeder(t, loopback(), b)
	seeding(t, tr, "torrent:"+f, b)
	check := func(t *testing.T, dir string) {
		got, err := os.ReadFile(filepath.Join(dir, b.Digest.Encoded()))
		if err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("what was downloaded is not the content (%v)", err)
		}
	}
	t.Run("transmission downloads", func(t *testing.T) {
		dir := t.TempDir()
		s := transmission(t, realserver.TransmissionOptions{Host: "127.0.0.10"})
		if err := s.Add(t.Context(), f, dir); err != nil {
			t.Fatal(err)
		}
		seeding(t, tr, magnet(t, f, s.Peer), b)
		if err := s.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, dir)
	})
	if s := tr.Stats(); s.Uploaded < b.Size {
		t.Errorf("%+v", s)
	}
}

// TestSeedRest: who seeds the blobs of a layout gives downloaders all of the
// torrent, with what isn't a blob, and what shares a piece with a blob.
func TestSeedRest(t *testing.T) {
	t.Parallel()
	for _, version := range []realserver.Version{realserver.V1, realserver.V2} {
		dir := t.TempDir()
		b := transporttest.NewBlob(19, 1<<20+1)
		layout := beside(t, dir, b)
		for name, content := range map[string]string{"index.json": `{"manifests":[]}`, "oci-layout": `{"imageLayoutVersion":"1.0.0"}`} {
			if err := os.WriteFile(filepath.Join(layout, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f := file(t, layout, version)
		all := libtorrent(t, realserver.LibtorrentOptions{})
		serve(t, all, f, dir)

		o := loopback()
		l, err := net.Listen("tcp", o.Listen.String()+":0")
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr)
		l.Close()
		o.ListenPort, o.NoPEX = at.Port, true // others hear of this peer only
		seeding(t, seeder(t, o, b), magnet(t, f, all.Peer), b)

		leech := newTransport(t, loopback())
		for _, name := range []string{"index.json", "oci-layout"} {
			r, err := leech.OpenFile(t.Context(), magnet(t, f, at.String()), name, filetree.Part{Length: -1, Size: -1})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := io.ReadAll(r)
			r.Close()
			want, _ := os.ReadFile(filepath.Join(layout, name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is %q (%v), not %q", name, got, err, want)
			}
		}
		pull(t, leech, magnet(t, f), b)
	}
}

func TestLocalServiceDiscovery(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(19, 1<<20)
	content := blobFile(t, t.TempDir(), b)
	local := func() bittorrent.Options {
		o := loopback()
		o.NoLSD, o.Interface, o.StallTimeout = false, "lo", 4*time.Second
		return o
	}
	for _, private := range []bool{false, true} {
		f := create(t, content, realserver.TorrentOptions{Private: private, Trackers: []string{"udp://127.0.0.1:9/announce"}})
		seeding(t, seeder(t, local(), b), "torrent:"+f, b)
		err := pullRange(t.Context(), newTransport(t, local()), "torrent:"+f, b, 0, b.Size)
		if private && !errors.Is(err, transport.ErrTemporary) || !private && err != nil {
			t.Errorf("private %v: %v", private, err)
		}
	}
}

func TestDHT(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(20, 1<<20)
	dir := t.TempDir()
	content := blobFile(t, dir, b)
	other := transporttest.NewBlob(21, 1<<20)
	boot := libtorrent(t, realserver.LibtorrentOptions{DHT: true})
	serve(t, boot, file(t, blobFile(t, dir, other), realserver.V1), dir)
	withDHT := func() bittorrent.Options {
		o := loopback()
		o.NoDHT, o.DHTBootstrap = false, []string{boot.Peer}
		return o
	}
	f := create(t, content, realserver.TorrentOptions{})
	seeding(t, seeder(t, withDHT(), b), "torrent:"+f, b)
	pull(t, newTransport(t, withDHT()), magnet(t, f), b)
}

func TestPeerExchange(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(22, 1<<20)
	dir := t.TempDir()
	f := create(t, blobFile(t, dir, b), realserver.TorrentOptions{})
	full := seeder(t, loopback(), b)
	// Who is asked has nothing, but knows someone who has.
	hub := transmission(t, realserver.TransmissionOptions{Host: "127.0.0.11", PEX: true, BytesPerSecond: 1000})
	if err := hub.Add(t.Context(), f, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	seeding(t, full, magnet(t, f, hub.Peer), b)
	pull(t, newTransport(t, loopback()), magnet(t, f, hub.Peer), b)
}
