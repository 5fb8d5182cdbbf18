package bittorrent_test

import (
	"bytes"
	"crypto/sha1"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/merkle"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent"
)

// TestConformance reads from libtorrent, which lets every peer download at
// once.
func TestConformance(t *testing.T) {
	for _, v := range []realserver.Version{realserver.V1, realserver.V2} {
		t.Run(string(v), func(t *testing.T) { testConformance(t, v) })
	}
}

func testConformance(t *testing.T, v realserver.Version) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		o := loopback()
		o.StallTimeout, o.MetadataTimeout = 2*time.Second, 3*time.Second
		s := libtorrent(t, realserver.LibtorrentOptions{})
		put := func(t testing.TB, b transporttest.Blob) transport.Route {
			dir := t.TempDir()
			return route(magnet(t, serve(t, s, file(t, blobFile(t, dir, b), v), dir), s.Peer))
		}
		return transporttest.Harness{
			Transport: bittorrent.New(o),
			Put: func(t testing.TB, b transporttest.Blob) transport.Route {
				if b.Size > 0 {
					return put(t, b)
				}
				// There are no torrents of nothing.
				dir := t.TempDir()
				return route(magnet(t, serve(t, s, file(t, beside(t, dir, b), v), dir), s.Peer))
			},
			Huge: func(t testing.TB, b transporttest.Blob) transport.Route {
				dir := t.TempDir()
				file := createSparse(t, blobFile(t, dir, b), b, v)
				if err := s.AddUnchecked(t.Context(), file, dir); err != nil {
					t.Fatal(err)
				}
				return route(magnet(t, file, s.Peer))
			},
			Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
				transporttest.Temporary: func(t testing.TB, b transporttest.Blob) transport.Route {
					file := file(t, blobFile(t, t.TempDir(), b), v)
					return route(magnet(t, file, s.Peer)) // a peer that doesn't have it
				},
				transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
					other := transporttest.NewBlob(99, b.Size+1)
					other.Digest = b.Digest
					return put(t, other)
				},
				transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
					return route(magnet(t, seedHalf(t, s, b, v), s.Peer))
				},
			},
			Impossible: map[transporttest.Fault]string{
				transporttest.Denied:    "peers know no credentials",
				transporttest.Throttled: "a peer that has enough requests leaves one waiting (chokes), it doesn't say so as an error",
			},
			Stop:  func(testing.TB) { s.Stop() },
			Start: func(t testing.TB) { restart(t, s) },
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

// seedHalf makes s seed the first half of a blob.
func seedHalf(t testing.TB, s seeds, b transporttest.Blob, v realserver.Version) string {
	t.Helper()
	dir := t.TempDir()
	path := blobFile(t, dir, b)
	file := file(t, path, v)
	if err := os.Truncate(path, b.Size/2); err != nil {
		t.Fatal(err)
	}
	return serve(t, s, file, dir)
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

// createSparse makes a torrent of a blob that is mostly zeros. Pieces of zeros
// are hashed once.
func createSparse(t testing.TB, path string, b transporttest.Blob, v realserver.Version) string {
	t.Helper()
	const length = 8 << 20
	sum := func(piece []byte) []byte { s := sha1.Sum(piece); return s[:] }
	if v == realserver.V2 {
		sum = func(piece []byte) []byte {
			h := merkle.NewHash()
			h.Write(piece)
			return h.SumMinLength(nil, length)
		}
	}
	var hashes []byte
	piece := make([]byte, length)
	zeros := sum(piece)
	for at := int64(0); at < b.Size; at += length {
		n, err := b.ReadAt(piece, at)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		hash := zeros
		if n < length || bytes.Count(piece, []byte{0}) < length {
			hash = sum(piece[:n])
		}
		hashes = append(hashes, hash...)
	}
	name := filepath.Base(path)
	info := map[string]any{"name": name, "piece length": length, "length": b.Size, "pieces": hashes}
	torrent := map[string]any{}
	if v == realserver.V2 {
		layer, err := merkle.CompactLayerToSliceHashes(string(hashes))
		if err != nil {
			t.Fatal(err)
		}
		root := merkle.RootWithPadHash(layer, metainfo.HashForPiecePad(length))
		info = map[string]any{"name": name, "piece length": length, "meta version": 2, "file tree": map[string]any{
			name: map[string]any{"": map[string]any{"length": b.Size, "pieces root": root[:]}},
		}}
		torrent["piece layers"] = map[string]any{string(root[:]): hashes}
	}
	torrent["info"] = info
	file := filepath.Join(t.TempDir(), "test.torrent")
	if err := os.WriteFile(file, bencode.MustMarshal(torrent), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
