package waybill

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/yosida95/uritemplate/v3"
)

// casVariables are what a template may use (oci-cas-template-v1).
var casVariables = []string{"digest", "algorithm", "encoded"}

// Digests to try a template with: differing in everything, and in the last
// character alone.
var (
	trialA = digest.Digest("sha256:" + strings.Repeat("0", 64))
	trialB = digest.Digest("sha512:" + strings.Repeat("f", 128))
	trialC = digest.Digest("sha256:" + strings.Repeat("0", 63) + "1")
)

// casTemplate is a URI template (RFC 6570) that leads to any blob.
type casTemplate struct {
	tmpl *uritemplate.Template
	uris uriContext
}

// newCASTemplate reads a template and tries it. All blobs must lie at one
// origin, so that policy can judge the place once, and each at a URI of its own.
func newCASTemplate(text string, uris uriContext) (*casTemplate, error) {
	if n := strings.Count(text, "{"); n > MaxExpressions {
		return nil, fmt.Errorf("a template of %d expressions; the limit is %d", n, MaxExpressions)
	}
	tmpl, err := uritemplate.New(text)
	if err != nil {
		return nil, errors.New("not a URI template (RFC 6570)")
	}
	for _, v := range tmpl.Varnames() {
		if !slices.Contains(casVariables, v) {
			return nil, fmt.Errorf("unknown variable %q in the template; there are %s", clip(v), strings.Join(casVariables, ", "))
		}
	}
	t := &casTemplate{tmpl: tmpl, uris: uris}
	return t, t.try()
}

// try expands the template for blobs that don't exist.
func (t *casTemplate) try() error {
	a, originA, err := t.expand(trialA)
	if err != nil {
		return err
	}
	_, originB, err := t.expand(trialB)
	if err != nil {
		return err
	}
	c, _, err := t.expand(trialC)
	switch {
	case err != nil:
		return err
	case a == c:
		return errors.New("the template leads to one URI for different blobs; it must use {digest} or {encoded} in full")
	case originA != originB:
		return errors.New("the template leads to different hosts for different blobs")
	}
	return nil
}

// expand returns the URI of a blob, and its scheme and authority.
func (t *casTemplate) expand(d digest.Digest) (uri, origin string, err error) {
	reference, err := t.tmpl.Expand(uritemplate.Values{
		"digest":    uritemplate.String(string(d)),
		"algorithm": uritemplate.String(d.Algorithm().String()),
		"encoded":   uritemplate.String(d.Encoded()),
	})
	if err != nil {
		return "", "", errors.New("the template can't be expanded")
	}
	u, err := t.uris.resolve(reference)
	if err != nil {
		return "", "", err
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return "", "", fmt.Errorf("scheme %q; %s is about https and http", clip(u.Scheme), ProtocolCASTemplate)
	}
	return u.String(), u.Scheme + "://" + u.Host, nil
}
