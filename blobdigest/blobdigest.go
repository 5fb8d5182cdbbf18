package blobdigest

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/zeebo/blake3"
)

// The registered algorithms (OCI image-spec, descriptor.md).
const (
	SHA256 digest.Algorithm = "sha256"
	SHA512 digest.Algorithm = "sha512"
	BLAKE3 digest.Algorithm = "blake3"
)

// ErrUnsupported is wrapped by the errors about algorithms that are not
// registered.
var ErrUnsupported = errors.New("unsupported digest algorithm")

// ErrMalformed is wrapped by the errors about strings that are not digests.
var ErrMalformed = errors.New("malformed digest")

// maxShown bounds how much of a bad digest an error repeats.
const maxShown = 160

// hexLen returns the number of hex digits of an algorithm's digests, or 0 for
// an algorithm that is not registered. (blake3 is extendable; OCI registers its
// 256-bit form.)
func hexLen(alg digest.Algorithm) int {
	switch alg {
	case SHA256, BLAKE3:
		return 64
	case SHA512:
		return 128
	}
	return 0
}

// Supported reports whether alg is a registered algorithm.
func Supported(alg digest.Algorithm) bool {
	return hexLen(alg) != 0
}

// NewHash returns a new hash of a registered algorithm. Its Sum is as long as
// the digests of that algorithm. Other algorithms are an [ErrUnsupported].
func NewHash(alg digest.Algorithm) (hash.Hash, error) {
	switch alg {
	case SHA256:
		return sha256.New(), nil
	case SHA512:
		return sha512.New(), nil
	case BLAKE3:
		return blake3.New(), nil
	}
	return nil, fmt.Errorf("%w %q (use sha256, sha512 or blake3)", ErrUnsupported, clip(string(alg)))
}

// FromBytes returns the digest of content under a registered algorithm.
func FromBytes(alg digest.Algorithm, content []byte) (digest.Digest, error) {
	h, err := NewHash(alg)
	if err != nil {
		return "", err
	}
	h.Write(content)
	return digest.NewDigest(alg, h), nil
}

// Error says what is wrong with a digest, on one line.
type Error struct {
	// Input is the digest as it was given.
	Input string
	// Pos is the byte of Input that is wrong, counting from 1; 0 where no
	// single one is to blame.
	Pos int
	// Err wraps [ErrUnsupported] or [ErrMalformed] and says what to do.
	Err error
}

// Error returns the line: the digest, the position and what is wrong.
func (e *Error) Error() string {
	if e.Pos == 0 {
		return fmt.Sprintf("digest %q: %v", clip(e.Input), e.Err)
	}
	return fmt.Sprintf("digest %q, character %d: %v", clip(e.Input), e.Pos, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads "algorithm:hex". The algorithm must be registered and the hex
// lower-case and of exactly the algorithm's length. Errors are [*Error].
func Parse(s string) (digest.Digest, error) {
	if pos, err := check(s); err != nil {
		return "", &Error{Input: s, Pos: pos, Err: err}
	}
	return digest.Digest(s), nil
}

// Validate checks d as [Parse] does. Do it before a digest from outside is
// used in a path (CVE-2024-3727).
func Validate(d digest.Digest) error {
	_, err := Parse(string(d))
	return err
}

// check returns what is wrong with s, and at which character where one is to
// blame.
func check(s string) (pos int, err error) {
	alg, encoded, ok := strings.Cut(s, ":")
	if !ok {
		return 0, fmt.Errorf("%w: no colon; write ALGORITHM:HEX", ErrMalformed)
	}
	n := hexLen(digest.Algorithm(alg))
	if n == 0 {
		return 1, fmt.Errorf("%w %q (use sha256, sha512 or blake3)", ErrUnsupported, clip(alg))
	}
	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			continue
		}
		if c >= 'A' && c <= 'F' {
			return len(alg) + 2 + i, fmt.Errorf("%w: upper-case hex; write it in lower case", ErrMalformed)
		}
		return len(alg) + 2 + i, fmt.Errorf("%w: %q is not a hex digit", ErrMalformed, rune(c))
	}
	if len(encoded) != n {
		return 0, fmt.Errorf("%w: %d hex digits where %s has %d", ErrMalformed, len(encoded), alg, n)
	}
	return 0, nil
}

func clip(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return s
}
