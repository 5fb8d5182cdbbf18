package bittorrent_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent"
)

// impossible are the faults that BitTorrent has no word for.
var impossible = map[transporttest.Fault]string{
	transporttest.Denied:    "peers know no credentials",
	transporttest.Throttled: "a peer that has enough requests leaves one waiting (chokes), it doesn't say so as an error",
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		o := loopback()
		o.StallTimeout, o.MetadataTimeout = 30*time.Second, 15*time.Second
		s := transmission(t, realserver.TransmissionOptions{})
		put := func(t testing.TB, b transporttest.Blob, piece int) transport.Route {
			return route(magnet(t, seed(t, s, b, realserver.TorrentOptions{PieceSize: piece}), s.Peer))
		}
		return transporttest.Harness{
			Transport: bittorrent.New(o),
			Put: func(t testing.TB, b transporttest.Blob) transport.Route {
				if b.Size == 0 { // there are no torrents of nothing
					return route(magnet(t, seedBeside(t, s, b), s.Peer))
				}
				return put(t, b, 0)
			},
			Huge: func(t testing.TB, b transporttest.Blob) transport.Route { return put(t, b, 8<<10) },
			Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
				transporttest.Temporary: func(t testing.TB, b transporttest.Blob) transport.Route {
					file := create(t, blobFile(t, t.TempDir(), b), realserver.TorrentOptions{})
					return route(magnet(t, file, s.Peer)) // a peer that doesn't have it
				},
				transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
					other := transporttest.NewBlob(99, b.Size+1)
					other.Digest = b.Digest
					return put(t, other, 0)
				},
				transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
					return route(magnet(t, seedHalf(t, s, b), s.Peer))
				},
			},
			Impossible: impossible,
			Stop:       func(testing.TB) { s.Stop() },
			Start: func(t testing.TB) {
				if err := s.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			// No Pause: what was read before comes from memory, whoever is paused.
			Stall: func(t testing.TB) transport.Route {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
				return route("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&x.pe=" + l.Addr().String())
			},
		}
	})
}

func TestConformanceV2(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		return transporttest.Harness{
			Transport: bittorrent.New(loopback()),
			Put: func(t testing.TB, b transporttest.Blob) transport.Route {
				dir := t.TempDir()
				content := blobFile(t, dir, b)
				if b.Size == 0 {
					content = beside(t, dir, b)
				}
				return route(magnet(t, file(t, content, realserver.V2), libtorrent(t, file(t, content, realserver.V2), filepath.Dir(content)).Peer))
			},
			MaxSize: 40 << 20, // every blob has a seeder of its own
			Faults:  map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{},
			Impossible: map[transporttest.Fault]string{
				transporttest.Denied: impossible[transporttest.Denied], transporttest.Throttled: impossible[transporttest.Throttled],
				transporttest.Temporary: "tested with v1, which differs in hashes only",
				transporttest.Permanent: "tested with v1, which differs in hashes only",
				transporttest.ShortBody: "tested with v1, which differs in hashes only",
			},
		}
	})
}

func route(uri string) transport.Route { return transport.Route{URI: uri} }

// beside puts a blob into an OCI layout's directory beside another one, and
// returns the layout's path.
func beside(t testing.TB, dir string, b transporttest.Blob) string {
	t.Helper()
	blobs := filepath.Join(dir, "layout", "blobs", digest.SHA256.String())
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	blobFile(t, blobs, b)
	blobFile(t, blobs, transporttest.NewBlob(77, 50_000))
	return filepath.Join(dir, "layout")
}

func seedBeside(t testing.TB, s *realserver.Transmission, b transporttest.Blob) string {
	t.Helper()
	dir := t.TempDir()
	file := file(t, beside(t, dir, b), realserver.V1) // transmission leaves out empty files
	if err := s.Add(t.Context(), file, dir); err != nil {
		t.Fatal(err)
	}
	return file
}

// seedHalf makes s seed the first half of a blob.
func seedHalf(t testing.TB, s *realserver.Transmission, b transporttest.Blob) string {
	t.Helper()
	dir := t.TempDir()
	path := blobFile(t, dir, b)
	file := create(t, path, realserver.TorrentOptions{})
	if err := os.Truncate(path, b.Size/2); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(t.Context(), file, dir); err != nil {
		t.Fatal(err)
	}
	return file
}

// file makes a torrent with libtorrent.
func file(t testing.TB, content string, v realserver.Version) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.torrent")
	if err := realserver.CreateTorrentVersion(t.Context(), file, content, v, realserver.TorrentOptions{}); err != nil {
		t.Fatal(err)
	}
	return file
}

// libtorrent starts a seeder that stops with the test.
func libtorrent(t testing.TB, torrentFile, content string) *realserver.Libtorrent {
	t.Helper()
	s, err := realserver.StartLibtorrent(t.Context(), t.TempDir(), torrentFile, content, realserver.LibtorrentOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}
