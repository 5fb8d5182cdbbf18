package waybill

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// InForce checks the document's times: an [ErrExpired] from Expires on, an
// [ErrFuture] more than [MaxSkew] seconds before Issued.
func (d *Document) InForce(now time.Time) error {
	switch {
	case !now.Before(d.Expires):
		return &Error{Kind: ErrExpired, Where: "/expires", Err: fmt.Errorf("it expired at %s", stamp(d.Expires))}
	case d.Issued.Sub(now) > MaxSkew*time.Second:
		return &Error{Kind: ErrFuture, Where: "/issued", Err: fmt.Errorf("it is issued at %s, which is to come; is this machine's clock right?", stamp(d.Issued))}
	}
	return nil
}

// Seen is what is remembered of the document that was last in force: the mark
// below which nothing of the same signer about the same image counts any more.
// That of unsigned documents is to be forgotten soon, since anybody could raise
// it (spec/waybill.md §8). The zero value remembers nothing.
type Seen struct {
	// Sequence is the document's.
	Sequence int64
	// Digest is that of the document's bytes; empty where nothing is
	// remembered.
	Digest digest.Digest
}

// Check compares a document with what is remembered: an [ErrSuperseded] for a
// lower sequence, an [ErrConflict] for the same one with other bytes.
func (s Seen) Check(sequence int64, d digest.Digest) error {
	switch {
	case s.Digest == "" || sequence > s.Sequence:
		return nil
	case sequence < s.Sequence:
		return &Error{Kind: ErrSuperseded, Where: "/sequence", Err: fmt.Errorf("its signer has issued number %d since number %d", s.Sequence, sequence)}
	case d != s.Digest:
		return &Error{Kind: ErrConflict, Where: "/sequence", Err: fmt.Errorf("its signer has issued another one with number %d", sequence)}
	}
	return nil
}

// Candidate is a document that was found for an image.
type Candidate struct {
	// Signer is who vouches for it, as the signature policy names them. For
	// one that nobody signed it is the place that served it, so that no place
	// can supersede what another says; the two must not be alike.
	Signer string
	// Digest is that of the document's bytes.
	Digest digest.Digest
	// Document is what they say.
	Document *Document
}

// Choose yields every candidate with nil if it is in force, or with why it
// isn't: of each signer the one with the highest sequence among those whose time
// it is counts, unless something newer was seen before. Two with that sequence
// and different bytes are both an [ErrConflict]. seen returns what is remembered
// of a signer; nil means nothing of anyone. That no candidate is in force means
// "ask the origin", never that the image fails.
func Choose(candidates []Candidate, now time.Time, seen func(signer string) Seen) iter.Seq2[Candidate, error] {
	return func(yield func(Candidate, error) bool) {
		errs := judge(candidates, now, seen)
		for i, c := range candidates {
			if !yield(c, errs[i]) {
				return
			}
		}
	}
}

// judge returns what keeps each candidate from being in force.
func judge(candidates []Candidate, now time.Time, seen func(string) Seen) []error {
	errs := make([]error, len(candidates))
	order := make([]int, 0, len(candidates)) // of those whose time it is, the highest sequence first
	for i, c := range candidates {
		if errs[i] = c.Document.InForce(now); errs[i] == nil && seen != nil {
			errs[i] = seen(c.Signer).Check(c.Document.Sequence, c.Digest)
		}
		if errs[i] == nil {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(candidates[b].Document.Sequence, candidates[a].Document.Sequence)
	})
	first := map[string]int{} // signer → index of the highest
	for _, i := range order {
		c := candidates[i]
		j, ok := first[c.Signer]
		if !ok {
			first[c.Signer] = i
			continue
		}
		errs[i] = Seen{candidates[j].Document.Sequence, candidates[j].Digest}.Check(c.Document.Sequence, c.Digest)
		if c.Document.Sequence == candidates[j].Document.Sequence && c.Digest != candidates[j].Digest {
			errs[j] = errs[i]
		}
	}
	return errs
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
