package oci

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
)

// Names is a [resolve.Resolver] of host-based names ([name.Host]).
type Names struct {
	Resolver *Resolver
}

// errSeveral: the name may mean several images.
var errSeveral = errors.New("that could be several images; add @DIGEST to the name")

// Resolve implements [resolve.Resolver]. The first ref engine's answer is taken;
// with a digest in the name, the answer that has it. Several images under one
// name are an error that lists them. The CAS engines that the documents name are
// its hints.
func (r Names) Resolve(ctx context.Context, n name.Name, _ ocispec.Descriptor) (resolve.Resolution, error) {
	hostBased, err := Parse(n.Path + "#" + n.Ref)
	if err != nil {
		return resolve.Resolution{}, err
	}
	answer, err := r.Resolver.Resolve(ctx, hostBased)
	if err != nil {
		return resolve.Resolution{}, err
	}
	chosen, err := choose(answer.Candidates, n.Digest)
	if err != nil {
		return resolve.Resolution{}, fmt.Errorf("%s: %w", n, err)
	}
	resolution := chosen.Resolution()
	for _, e := range append(chosen.CASEngines, answer.CASEngines...) {
		l, err := e.Locator("oci-discovery " + e.From)
		if err != nil {
			r.Resolver.options.Note(discovery.Note{Where: e.From, Text: err.Error(), Ignored: true})
			continue
		}
		resolution.Hints = append(resolution.Hints, l)
	}
	return resolution, nil
}

// choose returns the one image among the candidates of the most preferred
// index, or the one with the digest.
func choose(all []Candidate, d digest.Digest) (Candidate, error) {
	distinct := map[digest.Digest]bool{}
	var seen []string
	for _, c := range all {
		switch {
		case d != "" && c.Descriptor.Digest == d:
			return c, nil
		case d == "" && c.From == all[0].From && !distinct[c.Descriptor.Digest]:
			distinct[c.Descriptor.Digest] = true
			seen = append(seen, entryText(c.Descriptor))
		}
	}
	switch {
	case d != "":
		return Candidate{}, fmt.Errorf("%w: nobody says the name means %s", resolve.ErrNotFound, d)
	case len(seen) > 1:
		return Candidate{}, fmt.Errorf("%w: %s", errSeveral, strings.Join(seen[:min(len(seen), 10)], ", "))
	}
	return all[0], nil
}

// entryText tells an entry of an index from its neighbours.
func entryText(d ocispec.Descriptor) string {
	text := string(d.Digest)
	if ref := d.Annotations[ocispec.AnnotationRefName]; ref != "" {
		text += fmt.Sprintf(" (%q)", clip(ref))
	}
	if p := d.Platform; p != nil {
		text += fmt.Sprintf(" for %s/%s", clip(p.OS), clip(p.Architecture))
	}
	return text
}

var _ resolve.Resolver = Names{}
