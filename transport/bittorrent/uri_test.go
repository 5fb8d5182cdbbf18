package bittorrent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

const (
	hash1 = "0123456789abcdef0123456789abcdef01234567"
	hash2 = "1220" + "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

func TestCheck(t *testing.T) {
	tr := New(Options{})
	for uri, want := range map[string]string{
		"magnet:?xt=urn:btih:" + hash1:                                                "",
		"magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH":                        "",
		"MAGNET:?xt=URN:BTIH:" + strings.ToUpper(hash1):                               "",
		"magnet:?xt=urn:btmh:" + hash2 + "&xt=urn:btih:" + hash1 + "&dn=x#blobs/a":    "",
		"magnet:?xt=urn:btih:" + hash1 + "&x.pe=127.0.0.1:1&x.pe=[::1]:2&x.pe=host:3": "",
		"magnet:?xt=urn:btih:" + hash1 + "&ws=https://h/x&tr=udp://t:1":               "",
		"torrent:a.torrent":                   "",
		"torrent:/a/b.torrent#path/of%20file": "",
		"magnet:?dn=x":                        "no infohash",
		"magnet:?xt=urn:btih:0123":            "40 hexadecimal digits",
		"magnet:?xt=urn:btih:" + hash1 + "&xt=urn:btih:" + strings.Repeat("0", 40): "two v1 infohashes",
		"magnet:?xt=urn:btmh:1221" + hash2[4:]:                                     "is not 1220",
		"magnet:?xt=urn:btih:" + hash1 + "&x.pe=nowhere":                           "is not HOST:PORT",
		"magnet:?xt=urn:btih:" + hash1 + "&ws=ftp://h/":                            "is not http:// or https://",
		"magnet:?xt=urn:btih:" + hash1 + "&ws=https://u:secret@h/":                 "holds user information",
		"magnet:?xt=urn:btih:" + hash1 + "&tr=udp://u:secret@h:1":                  "holds user information",
		"torrent:":                               "no file",
		"torrent:#x":                             "no file",
		"https://h/":                             "neither magnet: nor torrent:",
		"magnet:?" + strings.Repeat("a", maxURI): "longer than the limit",
	} {
		err := tr.Check(uri)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", uri, err)
		case want != "" && (!errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), want)):
			t.Errorf("%.100s: %v; want %q", uri, err, want)
		case want != "" && strings.Contains(err.Error(), "secret"):
			t.Errorf("%v: a password is shown", err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("magnet:?xt=urn:btih:" + hash1 + "&x.pe=127.0.0.1:1#a")
	f.Add("magnet:?xt=urn:btmh:" + hash2 + "&ws=http://h/&tr=udp://t:1")
	f.Add("torrent:a.torrent#b%2fc")
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := parse(uri)
		if err != nil {
			if !errors.Is(err, transport.ErrPermanent) {
				t.Errorf("%v", err)
			}
			return
		}
		if l.file == "" && l.v1 == nil && l.v2 == nil {
			t.Error("neither a file nor an infohash")
		}
	})
}

// encode returns a torrent file with an info dictionary.
func encode(t testing.TB, info metainfo.Info) []byte {
	t.Helper()
	b, err := bencode.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	mi := metainfo.MetaInfo{InfoBytes: b, Announce: "udp://t:1"}
	if err := mi.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTorrentFileRefused(t *testing.T) {
	tr := New(Options{})
	defer tr.Close()
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"no bencoding":        {[]byte("<html>"), "not a usable torrent file"},
		"nested":              {[]byte("d4:info" + strings.Repeat("l", 100_000)), "deep in each other"},
		"no info":             {[]byte("d8:announce1:xe"), "no info dictionary"},
		"piece length":        {encode(t, metainfo.Info{Name: "x", Length: 1, Pieces: make([]byte, 20)}), "piece length 0"},
		"too few hashes":      {encode(t, metainfo.Info{Name: "x", Length: 100, PieceLength: 10, Pieces: make([]byte, 20)}), "1 piece hashes for 100 bytes"},
		"negative length":     {encode(t, metainfo.Info{Name: "x", Length: -1, PieceLength: 10}), "not credible"},
		"unknown version":     {encode(t, metainfo.Info{Name: "x", Length: 1, PieceLength: 1 << 14, Pieces: make([]byte, 20), MetaVersion: 3}), "meta version 3"},
		"v2 piece length":     {encode(t, metainfo.Info{Name: "x", PieceLength: 10_000, MetaVersion: 2}), "power of two"},
		"larger than memory":  {encode(t, metainfo.Info{Name: "x", Length: 1, PieceLength: 128 << 20, Pieces: make([]byte, 20)}), "limit of 67108864 bytes of memory"},
		"v1 and v2 disagree":  {encode(t, metainfo.Info{Name: "x", Length: 1, PieceLength: 1 << 14, Pieces: make([]byte, 20), MetaVersion: 2}), "disagree"},
		"larger than allowed": {make([]byte, MaxTorrentFile+1), "larger than the limit of 33554432 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.torrent")
			if err := os.WriteFile(file, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := tr.Size(t.Context(), transport.Route{URI: "torrent:" + file}, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1})
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	_, err := tr.Size(t.Context(), transport.Route{URI: "torrent:/nowhere/x.torrent"}, ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1})
	if !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("no such file: %v", err)
	}
}

func FuzzTorrentFile(f *testing.F) {
	f.Add(encode(f, metainfo.Info{Name: "x", Length: 100, PieceLength: 64, Pieces: make([]byte, 40)}))
	f.Add([]byte("d4:infod4:name1:xee"))
	f.Fuzz(func(t *testing.T, content []byte) {
		l := &link{uri: "torrent:x", file: "x"}
		if err := l.decode(content); err != nil {
			return
		}
		if l.v1 == nil && l.v2 == nil || len(l.info) == 0 {
			t.Error("read, but without an infohash or info")
		}
	})
}

func FuzzLSD(f *testing.F) {
	f.Add(lsdMessage(6881, [][20]byte{{1}, {2}}, "cookie"))
	f.Fuzz(func(t *testing.T, b []byte) {
		port, hashes, _, err := parseLSD(b)
		if err == nil && (port == 0 || len(hashes) > maxAnnounced) {
			t.Errorf("port %d, %d infohashes", port, len(hashes))
		}
	})
}

func TestChoose(t *testing.T) {
	d := digest.FromString("x")
	file := func(path string, size int64) entry { return entry{path: path, extent: extent{0, size}} }
	desc := ocispec.Descriptor{Digest: d, Size: 5}
	for name, c := range map[string]struct {
		files []entry
		named string
		want  int // index, or -1
		err   error
	}{
		"named by the fragment": {[]entry{file("a", 5), file("b", 5)}, "b", 1, nil},
		"no such fragment":      {[]entry{file("a", 5)}, "b", -1, transport.ErrNotFound},
		"fragment, other size":  {[]entry{file("a", 6)}, "a", -1, transport.ErrPermanent},
		"hex":                   {[]entry{file("a", 5), file(d.Encoded(), 5)}, "", 1, nil},
		"algorithm-hex":         {[]entry{file("a", 5), file("sha256-"+d.Encoded(), 5)}, "", 1, nil},
		"layout":                {[]entry{file("index.json", 5), file("blobs/sha256/"+d.Encoded(), 5)}, "", 1, nil},
		"other algorithm":       {[]entry{file("a", 5), file("blake3/"+d.Encoded(), 5)}, "", -1, transport.ErrNotFound},
		"name, other size":      {[]entry{file(d.Encoded(), 6)}, "", -1, transport.ErrPermanent},
		"only one":              {[]entry{file("rootfs.tar.gz", 5)}, "", 0, nil},
		"only one, other size":  {[]entry{file("rootfs.tar.gz", 6)}, "", -1, transport.ErrNotFound},
		"only one, other blob":  {[]entry{file(digest.FromString("y").Encoded(), 5)}, "", -1, transport.ErrNotFound},
		"pieces root":           {[]entry{file("a", 5), {path: "b", extent: extent{0, 5}, root: d.Encoded()}}, "", 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose("torrent:x", c.files, c.named, desc)
			if c.want >= 0 && (err != nil || got != c.files[c.want]) || c.want < 0 && !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(4 * block)
	sw := &swarm{mem: m, pieceLength: block, pieces: map[int]*piece{}, info: &metainfo.Info{PieceLength: block}, length: 100 * block}
	a, b := &body{}, &body{}
	var held []*piece
	for i := range 4 {
		held = append(held, m.acquire(sw, i, a, i == 0))
	}
	if m.acquire(sw, 4, a, false) != nil || m.acquire(sw, 5, b, true) != nil {
		t.Fatal("more than there is room for")
	}
	m.release(held[3])
	if m.acquire(sw, 4, a, false) != nil {
		t.Error("reading ahead took the room that another waits for")
	}
	if m.acquire(sw, 5, b, true) == nil || m.used > m.limit {
		t.Error("who waited got nothing")
	}
}
