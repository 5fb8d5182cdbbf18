package bittorrent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/types/infohash"
	infohash_v2 "github.com/anacrolix/torrent/types/infohash-v2"

	"github.com/waybill-project/waybill/transport"
)

// Limits of what a torrent may be.
const (
	// MaxTorrentFile is the size of the largest torrent file that is read, in
	// bytes.
	MaxTorrentFile = 32 << 20
	// MaxFiles is how many files a torrent may have.
	MaxFiles = 100_000
	// MaxPieces is how many pieces a torrent may have: some hundred bytes are
	// kept for each.
	MaxPieces = 1 << 18
	// maxDepth is how deep lists and dictionaries may lie in each other.
	maxDepth = 200
	// maxLength is the largest torrent, in bytes.
	maxLength = 1 << 50
)

// load reads the torrent file that l names, if it names one, into l.
func (l *link) load() error {
	if l.file == "" {
		return nil
	}
	content, err := readTorrentFile(l.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return transport.Errorf(transport.ErrNotFound, l.uri, "%w", err)
	case err != nil:
		return transport.Errorf(transport.ErrPermanent, l.uri, "%w", err)
	}
	if err := l.decode(content); err != nil {
		return transport.Errorf(transport.ErrPermanent, l.uri, "not a usable torrent file: %w", err)
	}
	return nil
}

func readTorrentFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxTorrentFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxTorrentFile {
		return nil, fmt.Errorf("%s is larger than the limit of %d bytes for a torrent file", name, MaxTorrentFile)
	}
	return content, nil
}

// decode reads the content of a torrent file.
func (l *link) decode(content []byte) error {
	if err := checkDepth(content); err != nil {
		return err
	}
	var mi metainfo.MetaInfo
	if err := bencode.Unmarshal(content, &mi); err != nil {
		return err
	}
	if len(mi.InfoBytes) == 0 {
		return errors.New("no info dictionary")
	}
	info, err := parseInfo(mi.InfoBytes)
	if err != nil {
		return err
	}
	if info.HasV1() {
		hash := [20]byte(infohash.HashBytes(mi.InfoBytes))
		l.v1 = &hash
	}
	if info.HasV2() {
		hash := [32]byte(infohash_v2.HashBytes(mi.InfoBytes))
		l.v2 = &hash
	}
	l.info, l.layers = mi.InfoBytes, mi.PieceLayers
	for _, tier := range mi.UpvertedAnnounceList() {
		l.trackers = append(l.trackers, tier...)
	}
	l.webseeds = mi.UrlList
	l.limit()
	return nil
}

// checkDepth says whether lists and dictionaries lie too deep in each other for
// a decoder that recurses.
func checkDepth(b []byte) error {
	_, err := valueEnd(b)
	return err
}

// valueEnd returns where the bencoded value ends that b begins with, or len(b)
// where it doesn't, and whether it is too deep for a decoder that recurses.
func valueEnd(b []byte) (int, error) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 'l' || c == 'd':
			if depth++; depth > maxDepth {
				return 0, fmt.Errorf("lists and dictionaries lie more than the limit of %d deep in each other", maxDepth)
			}
		case c == 'e':
			depth--
		case c == 'i':
			for i < len(b) && b[i] != 'e' {
				i++
			}
		case c >= '0' && c <= '9':
			n := 0
			for ; i < len(b) && b[i] >= '0' && b[i] <= '9' && n <= len(b); i++ {
				n = 10*n + int(b[i]-'0')
			}
			i += n // and the colon
		}
		if depth <= 0 {
			return min(i+1, len(b)), nil
		}
	}
	return len(b), nil
}

// parseInfo reads an info dictionary and checks it.
func parseInfo(b []byte) (*metainfo.Info, error) {
	if err := checkDepth(b); err != nil {
		return nil, err
	}
	var info metainfo.Info
	if err := bencode.Unmarshal(b, &info); err != nil {
		return nil, fmt.Errorf("info dictionary: %w", err)
	}
	return &info, validate(&info)
}

// validate says what is wrong with an info dictionary, so that what is
// taken for granted later is so.
func validate(info *metainfo.Info) error {
	switch {
	case info.MetaVersion < 0 || info.MetaVersion > 2:
		return fmt.Errorf("meta version %d is unknown; 1 and 2 are known", info.MetaVersion)
	case info.PieceLength <= 0 || info.PieceLength > 1<<30:
		return fmt.Errorf("piece length %d", info.PieceLength)
	case info.HasV2() && (info.PieceLength < block || bits.OnesCount64(uint64(info.PieceLength)) != 1):
		return fmt.Errorf("piece length %d is not a power of two of at least 16384 (BEP 52)", info.PieceLength)
	case len(info.Pieces)%20 != 0:
		return fmt.Errorf("%d bytes of piece hashes, not a multiple of 20", len(info.Pieces))
	case len(info.Pieces)/20 > MaxPieces:
		return fmt.Errorf("more than the limit of %d pieces", MaxPieces)
	}
	if info.HasV2() {
		return validateV2(info)
	}
	total, err := totalV1(info)
	if err != nil {
		return err
	}
	if want := ceil(total, info.PieceLength); want != int64(len(info.Pieces)/20) {
		return fmt.Errorf("%d piece hashes for %d bytes in pieces of %d", len(info.Pieces)/20, total, info.PieceLength)
	}
	return nil
}

// totalV1 returns the length of the files in the v1 part of info.
func totalV1(info *metainfo.Info) (int64, error) {
	if len(info.Files) > MaxFiles {
		return 0, fmt.Errorf("%d files, more than the limit of %d", len(info.Files), MaxFiles)
	}
	var total int64
	for f := range info.UpvertedV1Files() {
		if f.Length < 0 || f.Length > maxLength || total > maxLength-f.Length {
			return 0, errors.New("a file's length is not credible")
		}
		total += f.Length
	}
	return total, nil
}

// extent is where a file lies in a torrent.
type extent struct{ offset, length int64 }

// validateV2 does the same for a v2 or hybrid info dictionary.
func validateV2(info *metainfo.Info) error {
	var files []extent
	var pieces, offset int64
	for _, f := range info.UpvertedFiles() {
		switch {
		case f.Length < 0 || f.Length > maxLength:
			return errors.New("a file's length is not credible")
		case f.Length > 0 && !f.PiecesRoot.Ok:
			return errors.New("a file has no pieces root")
		case len(files) >= MaxFiles:
			return fmt.Errorf("more than the limit of %d files", MaxFiles)
		}
		files = append(files, extent{offset, f.Length})
		n := ceil(f.Length, info.PieceLength)
		pieces += n
		offset += n * info.PieceLength
		if pieces > MaxPieces {
			return fmt.Errorf("more than the limit of %d pieces", MaxPieces)
		}
	}
	if !info.HasV1() {
		return nil
	}
	// BEP 52, "Upgrade Path": both parts describe the same files, aligned to
	// pieces with padding files in the v1 part.
	if int64(len(info.Pieces)/20) != pieces {
		return errors.New("the v1 and v2 parts of the hybrid torrent disagree")
	}
	total, err := totalV1(info)
	if err != nil {
		return err
	}
	if ceil(total, info.PieceLength) != pieces {
		return errors.New("the v1 and v2 parts of the hybrid torrent disagree about its length")
	}
	at, i := int64(0), 0
	for f := range info.UpvertedV1Files() {
		if !padding(f) && f.Length > 0 {
			for i < len(files) && files[i].length == 0 {
				i++
			}
			if i >= len(files) || files[i] != (extent{at, f.Length}) {
				return errors.New("the v1 and v2 parts of the hybrid torrent disagree about its files")
			}
			i++
		}
		at += f.Length
	}
	return nil
}

func ceil(n, d int64) int64 { return (n + d - 1) / d }
