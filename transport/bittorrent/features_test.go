package bittorrent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// nginx serves a directory until the test ends.
func nginx(t *testing.T, root string) *realserver.Nginx {
	t.Helper()
	s, err := realserver.StartNginx(t.Context(), t.TempDir(), root, realserver.NginxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// withWeb are options with web seeds, whose HTTP connections end with the test.
func withWeb(t *testing.T) bittorrent.Options {
	o := loopback()
	o.HTTP = httpclient.New(httpclient.Options{})
	o.StallTimeout = 4 * time.Second
	t.Cleanup(o.HTTP.CloseIdleConnections)
	return o
}

func TestWebSeeds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := transporttest.NewBlob(51, 9<<20+123)
	layout := beside(t, dir, b)
	blobs := filepath.Join(layout, "blobs", "sha256")
	web := nginx(t, dir)
	for _, c := range []struct {
		name, content string
		version       realserver.Version
		urls          []string
	}{
		{"one file", filepath.Join(blobs, b.Digest.Encoded()), realserver.V1, []string{"/layout/blobs/sha256/" + b.Digest.Encoded()}},
		{"one file in a directory", filepath.Join(blobs, b.Digest.Encoded()), realserver.V1, []string{"/layout/blobs/sha256/"}},
		{"one file, v2", filepath.Join(blobs, b.Digest.Encoded()), realserver.V2, []string{"/layout/blobs/sha256/" + b.Digest.Encoded()}},
		{"one file in a directory, v2", filepath.Join(blobs, b.Digest.Encoded()), realserver.V2, []string{"/layout/blobs/sha256/"}},
		{"one file, hybrid", filepath.Join(blobs, b.Digest.Encoded()), realserver.Hybrid, []string{"/layout/blobs/sha256/" + b.Digest.Encoded()}},
		{"many files", layout, realserver.V1, []string{"/"}},
		{"hybrid", layout, realserver.Hybrid, []string{"/"}},
		{"v2", layout, realserver.V2, []string{"/"}},
		{"one of two is there", layout, realserver.V1, []string{"/nowhere/", "/"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var o realserver.TorrentOptions
			for _, u := range c.urls {
				o.WebSeeds = append(o.WebSeeds, strings.TrimSuffix(web.URL, "/")+u)
			}
			f := filepath.Join(t.TempDir(), "x.torrent")
			if err := realserver.CreateTorrentVersion(t.Context(), f, c.content, c.version, o); err != nil {
				t.Fatal(err)
			}
			tr := newTransport(t, withWeb(t))
			pull(t, tr, "torrent:"+f, b)
			if err := pullRange(t.Context(), tr, "torrent:"+f, b, 5<<20+1, 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
	f := file(t, layout, realserver.V1)
	t.Run("named by a magnet", func(t *testing.T) {
		// The metadata come from a peer that has nothing else.
		hub := libtorrent(t, realserver.LibtorrentOptions{})
		serve(t, hub, f, t.TempDir())
		pull(t, newTransport(t, withWeb(t)), magnet(t, f, hub.Peer)+"&ws="+web.URL+"/", b)
	})
	t.Run("switched off", func(t *testing.T) {
		o := loopback()
		o.StallTimeout = time.Second
		err := pullRange(t.Context(), newTransport(t, o), seedsOf(t, layout, web.URL+"/"), b, 0, b.Size)
		if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), "1 web seeds (switched off)") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a liar", func(t *testing.T) {
		other := t.TempDir()
		lies := b.Bytes()
		lies[4<<20] ^= 1
		if err := os.WriteFile(filepath.Join(other, b.Digest.Encoded()), lies, 0o644); err != nil {
			t.Fatal(err)
		}
		lying := nginx(t, other)
		one := filepath.Join(blobs, b.Digest.Encoded())
		err := pullRange(t.Context(), newTransport(t, withWeb(t)), seedsOf(t, one, lying.URL+"/"), b, 0, b.Size)
		if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), "it sent a wrong piece") {
			t.Errorf("alone: %v", err)
		}
		pull(t, newTransport(t, withWeb(t)), seedsOf(t, one, lying.URL+"/", web.URL+"/layout/blobs/sha256/"), b)
	})
}

// seedsOf makes a torrent of content with web seeds and returns its URI.
func seedsOf(t *testing.T, content string, urls ...string) string {
	t.Helper()
	return "torrent:" + create(t, content, realserver.TorrentOptions{WebSeeds: urls})
}

// TestWebSeedBesidePeers: a blob comes from a peer and a web seed at once.
func TestWebSeedBesidePeers(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(52, 64<<20)
	dir := t.TempDir()
	content := blobFile(t, dir, b)
	web := nginx(t, dir)
	s := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.15"})
	f := create(t, content, realserver.TorrentOptions{WebSeeds: []string{web.URL + "/"}, PieceSize: 256})
	serve(t, s, f, dir)
	tr := newTransport(t, withWeb(t))
	pull(t, tr, magnet(t, f, s.Peer)+"&ws="+web.URL+"/", b)
	accesses, err := web.Accesses()
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, a := range accesses {
		n += a.Bytes
	}
	if st := tr.Stats(); n == 0 || n >= b.Size || st.Downloaded != b.Size {
		t.Errorf("%d bytes of %d from the web seed, %+v", n, b.Size, st)
	}
}

// TestDownloadLimit: with a limit, what is read takes as long at least.
func TestDownloadLimit(t *testing.T) {
	t.Parallel()
	const perSecond = 4 << 20
	b := transporttest.NewBlob(53, 8<<20)
	dir := t.TempDir()
	content := blobFile(t, dir, b)
	web := nginx(t, dir)
	f := create(t, content, realserver.TorrentOptions{WebSeeds: []string{web.URL + "/"}})
	one, two := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.16"}), libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.17"})
	serve(t, one, f, dir)
	serve(t, two, f, dir)
	for name, uri := range map[string]string{"peers": magnet(t, f, one.Peer, two.Peer), "a web seed": "torrent:" + f} {
		t.Run(name, func(t *testing.T) {
			o := withWeb(t)
			o.MaxDownload = perSecond
			tr := newTransport(t, o)
			began := time.Now()
			pull(t, tr, uri, b)
			if least := time.Second * time.Duration(b.Size-1<<18) / perSecond; time.Since(began) < least {
				t.Errorf("%d bytes in %v, less than %v", b.Size, time.Since(began), least)
			}
		})
	}
}

// TestUploadLimit: the same of what is seeded, to two peers at once.
func TestUploadLimit(t *testing.T) {
	t.Parallel()
	const perSecond = 4 << 20
	b := transporttest.NewBlob(54, 4<<20)
	f := create(t, blobFile(t, t.TempDir(), b), realserver.TorrentOptions{})
	o := loopback()
	o.MaxUpload, o.ListenPort = perSecond, 47_611
	tr := seeder(t, o, b)
	seeding(t, tr, "torrent:"+f, b)
	uri := magnet(t, f, fmt.Sprintf("%s:%d", o.Listen, o.ListenPort))
	began := time.Now()
	done := make(chan error, 2)
	for range 2 {
		tr := newTransport(t, loopback())
		go func() { done <- pullRange(t.Context(), tr, uri, b, 0, b.Size) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if least := time.Second * time.Duration(2*b.Size-1<<18) / perSecond; time.Since(began) < least {
		t.Errorf("twice %d bytes in %v, less than %v", b.Size, time.Since(began), least)
	}
	if s := tr.Stats(); s.Uploaded < 2*b.Size {
		t.Errorf("%+v", s)
	}
}

// TestSeedVersions: what is seeded here can be downloaded by magnet, of every
// version of BitTorrent.
func TestSeedVersions(t *testing.T) {
	t.Parallel()
	for i, v := range []realserver.Version{realserver.V1, realserver.V2, realserver.Hybrid} {
		t.Run(string(v), func(t *testing.T) {
			b := transporttest.NewBlob(55, 3<<20+17)
			f := filepath.Join(t.TempDir(), "x.torrent")
			if err := realserver.CreateTorrentVersion(t.Context(), f, blobFile(t, t.TempDir(), b), v, realserver.TorrentOptions{PieceSize: 64}); err != nil {
				t.Fatal(err)
			}
			o := loopback()
			o.ListenPort = 47_620 + i
			tr := seeder(t, o, b)
			seeding(t, tr, "torrent:"+f, b)
			pull(t, newTransport(t, loopback()), magnet(t, f, fmt.Sprintf("%s:%d", o.Listen, o.ListenPort)), b)
		})
	}
}

// TestPublic: for torrents that others name, nothing on this network is asked.
func TestPublic(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(56, 1<<20)
	dir := t.TempDir()
	content := blobFile(t, dir, b)
	web := nginx(t, dir)
	tracker, err := realserver.StartTracker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracker.Stop)
	f := create(t, content, realserver.TorrentOptions{Trackers: []string{tracker.HTTP, tracker.UDP}, WebSeeds: []string{web.URL + "/"}})
	allow(t, tracker, f)
	s := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.18"})
	serve(t, s, f, dir)
	o := withWeb(t)
	o.Public, o.NoLSD, o.MetadataTimeout = true, false, 2*time.Second
	o.AllowPeer = nil
	tr := newTransport(t, o)
	mi, err := metainfo.LoadFromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	uri := magnet(t, f, s.Peer) + "&tr=" + tracker.HTTP + "&tr=" + tracker.UDP + "&ws=" + web.URL + "/"
	err = pullRange(t.Context(), tr, uri, b, 0, b.Size)
	if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), "0 peers known") || strings.Count(err.Error(), "loopback") != 2 {
		t.Errorf("%v (%s)", err, mi.HashInfoBytes())
	}
	if err := pullRange(t.Context(), tr, "torrent:"+f, b, 0, b.Size); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("a file: %v", err)
	}
	if a, err := web.Accesses(); err != nil || len(a) > 0 {
		t.Errorf("the web seed was asked: %v, %v", a, err)
	}
}

// TestName: a torrent of an OCI layout is a name.
func TestName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	layout := beside(t, dir, transporttest.NewBlob(57, 100_000))
	d := transporttest.NewBlob(58, 5)
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":5,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`, d.Digest)
	for name, text := range map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": index} {
		if err := os.WriteFile(filepath.Join(layout, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := libtorrent(t, realserver.LibtorrentOptions{})
	f := file(t, layout, realserver.V1)
	serve(t, s, f, dir)
	tr := newTransport(t, loopback())
	got, err := tr.Resolve(t.Context(), name.Name{Kind: name.Place, Path: magnet(t, f, s.Peer), Ref: "v1"})
	if err != nil || got.Digest != d.Digest {
		t.Errorf("%v, %v", got, err)
	}
	entries, err := tr.Entries(t.Context(), name.Name{Kind: name.Place, Path: magnet(t, f, s.Peer)})
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	_, err = tr.Resolve(t.Context(), name.Name{Kind: name.Place, Path: magnet(t, f, s.Peer), Ref: "v2"})
	if !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("no such ref: %v", err)
	}
}

// TestManyRanges: sixteen ranges at once, from one peer.
func TestManyRanges(t *testing.T) {
	t.Parallel()
	const n, part = 16, 5 << 20
	b := transporttest.NewBlob(59, n*part)
	dir := t.TempDir()
	s := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.19"})
	f := create(t, blobFile(t, dir, b), realserver.TorrentOptions{PieceSize: 512})
	serve(t, s, f, dir)
	o := loopback()
	o.Memory = 2 * b.Size // or some may be evicted, and fetched again
	tr := newTransport(t, o)
	done := make(chan error, n)
	for i := range int64(n) {
		go func() { done <- pullRange(t.Context(), tr, magnet(t, f, s.Peer), b, i*part, part) }()
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if st := tr.Stats(); st.Downloaded+st.Wasted > b.Size {
		t.Errorf("%+v for %d bytes", st, b.Size)
	}
}

// TestEncryptedPeer reads from a peer that takes encrypted connections only, and
// of a v2 torrent at that.
func TestEncryptedPeer(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(61, 3<<20)
	for _, v := range []realserver.Version{realserver.V1, realserver.V2, realserver.Hybrid} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := file(t, blobFile(t, dir, b), v)
			s := libtorrent(t, realserver.LibtorrentOptions{Encrypted: true})
			serve(t, s, f, dir)
			pull(t, newTransport(t, loopback()), magnet(t, f, s.Peer), b)
		})
	}
}

// TestAria2 reads from aria2, which is asked for the torrent by its file.
func TestAria2(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(60, 6<<20)
	dir := t.TempDir()
	f := create(t, blobFile(t, dir, b), realserver.TorrentOptions{})
	s, err := realserver.StartAria2(t.Context(), t.TempDir(), f, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	pull(t, newTransport(t, loopback()), magnet(t, f, s.Peer), b)
}
