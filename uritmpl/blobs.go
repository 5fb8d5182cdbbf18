package uritmpl

import (
	"errors"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
)

// BlobVariables are what a template may use by which a place has any blob
// (oci-cas-template-v1). [BlobValues] has their values.
var BlobVariables = []string{"digest", "algorithm", "encoded"}

// BlobValues returns the values of [BlobVariables] for the blob with a digest,
// which the caller has validated.
func BlobValues(d digest.Digest) map[string]string {
	return map[string]string{"digest": string(d), "algorithm": d.Algorithm().String(), "encoded": d.Encoded()}
}

// Digests to try a template with: differing in everything, and in the last
// character alone.
var (
	trialA = digest.Digest("sha256:" + strings.Repeat("0", 64))
	trialB = digest.Digest("sha512:" + strings.Repeat("f", 128))
	trialC = digest.Digest("sha256:" + strings.Repeat("0", 63) + "1")
)

// TryBlobs tries a template with blobs that don't exist. place returns where a
// blob is by it, and refuses what the caller can't use. All blobs must lie at one
// origin (RFC 6454 §4), so that policy can judge the place once, and each at a URI
// of its own.
func TryBlobs(place func(digest.Digest) (*url.URL, error)) error {
	var tried []*url.URL
	for _, d := range []digest.Digest{trialA, trialB, trialC} {
		u, err := place(d)
		if err != nil {
			return err
		}
		tried = append(tried, u)
	}
	switch {
	case tried[0].String() == tried[2].String():
		return errors.New("the template leads to one URI for different blobs; it must use {digest} or {encoded} in full")
	case Origin(tried[0]) != Origin(tried[1]), Origin(tried[0]) != Origin(tried[2]):
		return errors.New("the template leads to different hosts for different blobs")
	}
	return nil
}

// Origin returns scheme, host and port of an http or https URL (RFC 6454 §4).
func Origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
