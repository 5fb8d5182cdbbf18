package bittorrent_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"
	infohash_v2 "github.com/anacrolix/torrent/types/infohash-v2"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent"
)

// addresses counts the addresses of the loopback network that were given out:
// clients know each other by address, so every transport has its own.
var addresses atomic.Uint32

// loopback are options that find peers only where a test says so.
func loopback() bittorrent.Options {
	n := addresses.Add(1)
	return bittorrent.Options{
		NoDHT: true, NoLSD: true,
		Listen:          netip.AddrFrom4([4]byte{127, 0, byte(1 + n/200), byte(1 + n%200)}),
		MetadataTimeout: 20 * time.Second,
		StallTimeout:    20 * time.Second,
	}
}

// newTransport returns a transport that is closed with the test.
func newTransport(t testing.TB, o bittorrent.Options) *bittorrent.Transport {
	t.Helper()
	tr := bittorrent.New(o)
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// transmission starts a seeder that stops with the test.
func transmission(t testing.TB, o realserver.TransmissionOptions) *realserver.Transmission {
	t.Helper()
	s, err := realserver.StartTransmission(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// libtorrent starts a seeder that stops with the test.
func libtorrent(t testing.TB, o realserver.LibtorrentOptions) *realserver.Libtorrent {
	t.Helper()
	s, err := realserver.StartLibtorrent(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// seeds is a seeder of whatever program.
type seeds interface {
	Start(context.Context) error
	Add(ctx context.Context, torrentFile, content string) error
}

// serve makes s seed what there is of a torrent below a directory.
func serve(t testing.TB, s seeds, torrentFile, content string) string {
	t.Helper()
	if err := s.Add(t.Context(), torrentFile, content); err != nil {
		t.Fatal(err)
	}
	return torrentFile
}

func restart(t testing.TB, s seeds) {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// create makes a v1 torrent of a file or directory.
func create(t testing.TB, content string, o realserver.TorrentOptions) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.torrent")
	if err := realserver.CreateTorrent(t.Context(), file, content, o); err != nil {
		t.Fatal(err)
	}
	return file
}

// magnet returns the magnet of a torrent file with peers to connect to.
func magnet(t testing.TB, torrentFile string, peers ...string) string {
	t.Helper()
	mi, err := metainfo.LoadFromFile(torrentFile)
	if err != nil {
		t.Fatal(err)
	}
	info, err := mi.UnmarshalInfo()
	if err != nil {
		t.Fatal(err)
	}
	uri := "magnet:?dn=test"
	if info.HasV1() {
		uri += "&xt=urn:btih:" + mi.HashInfoBytes().HexString()
	}
	if info.HasV2() {
		hash := infohash_v2.HashBytes(mi.InfoBytes)
		uri += "&xt=urn:btmh:1220" + hex.EncodeToString(hash[:])
	}
	for _, p := range peers {
		uri += "&x.pe=" + url.QueryEscape(p)
	}
	return uri
}

// blobFile writes a blob into dir under its digest's name.
func blobFile(t testing.TB, dir string, b transporttest.Blob) string {
	t.Helper()
	path := filepath.Join(dir, b.Digest.Encoded())
	b.WriteFile(t, path)
	return path
}

// seed makes a torrent of the blob and has s seed it.
func seed(t testing.TB, s seeds, b transporttest.Blob, o realserver.TorrentOptions) (torrentFile string) {
	t.Helper()
	dir := t.TempDir()
	return serve(t, s, create(t, blobFile(t, dir, b), o), dir)
}

// pull reads a whole blob and compares it.
func pull(t testing.TB, tr transport.Transport, uri string, b transporttest.Blob) {
	t.Helper()
	if err := pullRange(t.Context(), tr, uri, b, 0, b.Size); err != nil {
		t.Fatal(err)
	}
}

func pullRange(ctx context.Context, tr transport.Transport, uri string, b transporttest.Blob, offset, length int64) error {
	r, err := tr.Open(ctx, transport.Route{URI: uri}, b.Descriptor(), offset, length)
	if err != nil {
		return err
	}
	defer r.Close()
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for done := int64(0); ; {
		n, err := r.Read(got)
		if n > 0 {
			if _, err := b.ReadAt(want[:n], offset+done); err != nil && err != io.EOF {
				return err
			}
			if !bytes.Equal(got[:n], want[:n]) {
				return fmt.Errorf("wrong bytes at %d", offset+done)
			}
		}
		done += int64(n)
		if err == io.EOF && done == length {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", done, length, err)
		}
	}
}
