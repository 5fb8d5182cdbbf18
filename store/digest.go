package store

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/zeebo/blake3"
)

// algorithm is one of the digest algorithms the image specification registers
// (image-spec descriptor.md, "Registered algorithms").
type algorithm struct {
	hexLength int
	newHash   func() hash.Hash
}

// algorithms also bounds which directories may exist below blobs/ and ingest/.
var algorithms = map[string]algorithm{
	"sha256": {64, sha256.New},
	"sha512": {128, sha512.New},
	"blake3": {64, func() hash.Hash { return blake3.New() }},
}

// checkDigest tells whether d may become part of a path: a registered
// algorithm, a colon, and exactly as many lower-case hexadecimal digits as it
// has. Every path made from a digest goes through here first, since digests
// come from documents of strangers (CVE-2024-3727).
//
// It stands in for digest.Validate, which doesn't know blake3 and whose answer
// depends on which hash packages the program happens to import.
func checkDigest(d digest.Digest) (alg, hex string, err error) {
	for i := 0; i < len(d); i++ {
		if d[i] == ':' {
			alg, hex = string(d[:i]), string(d[i+1:])
			break
		}
	}
	a, ok := algorithms[alg]
	if !ok {
		return "", "", fmt.Errorf("digest %s: want sha256:…, sha512:… or blake3:…", quoteShort(string(d)))
	}
	if len(hex) != a.hexLength {
		return "", "", fmt.Errorf("digest %s: %d characters after %q, want %d hexadecimal digits", quoteShort(string(d)), len(hex), alg+":", a.hexLength)
	}
	for i := 0; i < len(hex); i++ {
		if c := hex[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", "", fmt.Errorf("digest %s: want lower-case hexadecimal digits", quoteShort(string(d)))
		}
	}
	return alg, hex, nil
}

// quoteShort quotes text from outside for an error line, shortened when it is
// longer than any digest or sensible name.
func quoteShort(s string) string {
	const most = 160
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
}

// digestPath returns the path of d below the top directory: dir/top/alg/hex.
func digestPath(dir, top string, d digest.Digest) (string, error) {
	alg, hex, err := checkDigest(d)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, top, alg, hex), nil
}

// newHash returns the hash function of d, which must be valid.
func newHash(d digest.Digest) (hash.Hash, error) {
	alg, _, err := checkDigest(d)
	if err != nil {
		return nil, err
	}
	return algorithms[alg].newHash(), nil
}

// hashDigest returns the digest whose algorithm is that of d and whose value is
// what h has summed.
func hashDigest(d digest.Digest, h hash.Hash) digest.Digest {
	alg, _, _ := checkDigest(d)
	return digest.Digest(fmt.Sprintf("%s:%x", alg, h.Sum(nil)))
}

// checkContent tells whether content has the digest d.
func checkContent(d digest.Digest, content []byte) error {
	h, err := newHash(d)
	if err != nil {
		return err
	}
	h.Write(content)
	if got := hashDigest(d, h); got != d {
		return fmt.Errorf("%s: %w: content is %s", d, ErrCorrupt, got)
	}
	return nil
}
