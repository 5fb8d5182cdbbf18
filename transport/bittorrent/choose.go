package bittorrent

import (
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
)

// entry is a file of a torrent.
type entry struct {
	// path is relative to the torrent's directory, or the torrent's name where
	// it is a single file.
	path string
	extent
	// root is the v2 pieces root in hexadecimal, or empty.
	root string
}

// entries returns the files of a valid info, without padding, with their place
// in the torrent as the library counts: in a v2 torrent every file begins a
// piece.
func entries(info *metainfo.Info) []entry {
	var all []entry
	var offset int64
	for _, f := range info.UpvertedFiles() {
		e := entry{path: f.DisplayPath(info), extent: extent{offset, f.Length}}
		if f.PiecesRoot.Ok && f.Length > 0 {
			e.root = hex.EncodeToString(f.PiecesRoot.Value[:])
		}
		if info.HasV2() {
			offset += ceil(f.Length, info.PieceLength) * info.PieceLength
		} else {
			offset += f.Length
		}
		if !padding(f) {
			all = append(all, e)
		}
	}
	return all
}

// padding reports whether f only fills up a piece (BEP 47).
func padding(f metainfo.FileInfo) bool {
	return strings.Contains(f.Attr, "p") || len(f.Path) > 1 && f.Path[0] == ".pad"
}

// choose returns the file that is desc, as the package comment says, for a URI
// whose fragment is named.
func choose(uri string, files []entry, named string, desc ocispec.Descriptor) (entry, error) {
	if err := blobdigest.Validate(desc.Digest); err != nil {
		return entry{}, transport.Errorf(transport.ErrPermanent, uri, "%w", err)
	}
	if named != "" {
		for _, f := range files {
			if f.path == named {
				return f.sized(uri, desc)
			}
		}
		return entry{}, transport.Errorf(transport.ErrNotFound, uri, "no file %q in the torrent; it has %s", named, enumerate(files))
	}
	for _, f := range files {
		if f.isNamed(desc.Digest) {
			return f.sized(uri, desc)
		}
	}
	for _, f := range files {
		// With one leaf the Merkle tree's root is that leaf's SHA-256 (BEP 52).
		if f.length <= block && f.root == desc.Digest.Encoded() && desc.Digest.Algorithm() == digest.SHA256 {
			return f.sized(uri, desc)
		}
	}
	if len(files) == 1 && !namedAfterDigest(files[0].path) && (desc.Size < 0 || files[0].length == desc.Size) {
		return files[0], nil
	}
	return entry{}, transport.Errorf(transport.ErrNotFound, uri, "no file of the torrent is %s; it has %s; name one as #PATH after the URI", desc.Digest, enumerate(files))
}

// isNamed reports whether the file has the name of a blob: HEX, ALGORITHM-HEX,
// or ALGORITHM/HEX in some directory.
func (f entry) isNamed(d digest.Digest) bool {
	alg, enc := d.Algorithm().String(), d.Encoded()
	base := path.Base(f.path)
	if base == alg+"-"+enc {
		return true
	}
	if base != enc {
		return false
	}
	dir := path.Base(path.Dir(f.path))
	return dir == alg || !isAlgorithm(dir)
}

func isAlgorithm(s string) bool { return blobdigest.Supported(digest.Algorithm(s)) }

// namedAfterDigest reports whether a file has the name of some blob, and so
// isn't another.
func namedAfterDigest(name string) bool {
	base := path.Base(name)
	if alg, enc, ok := strings.Cut(base, "-"); ok {
		return blobdigest.Validate(digest.NewDigestFromEncoded(digest.Algorithm(alg), enc)) == nil
	}
	return digest.SHA256.Validate(base) == nil || digest.SHA512.Validate(base) == nil
}

func (f entry) sized(uri string, desc ocispec.Descriptor) (entry, error) {
	if desc.Size >= 0 && f.length != desc.Size {
		return entry{}, transport.Errorf(transport.ErrPermanent, uri, "%q is %d bytes in the torrent; %s should be %d", f.path, f.length, desc.Digest, desc.Size)
	}
	return f, nil
}

// enumerate returns the first few files in words.
func enumerate(files []entry) string {
	const few = 5
	var s []string
	for _, f := range files[:min(few, len(files))] {
		s = append(s, fmt.Sprintf("%q (%d bytes)", f.path, f.length))
	}
	switch {
	case len(files) == 0:
		return "no files"
	case len(files) > few:
		s = append(s, fmt.Sprintf("%d more", len(files)-few))
	}
	return strings.Join(s, ", ")
}
