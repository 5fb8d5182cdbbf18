package resolve

import (
	"context"
	"errors"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// Freshness says how old an answer may be.
type Freshness string

// The policies of freshness.
const (
	// Fresh asks every time; a failure is a failure.
	Fresh Freshness = "fresh"
	// StaleOK asks every time, and where nobody can be asked takes the last
	// known answer, with a warning.
	StaleOK Freshness = "stale-ok"
	// Pinned asks only until there is an answer.
	Pinned Freshness = "pinned"
)

// DefaultStaleAfter is how long upstream may be silent before it counts as
// down, where [Aged] isn't told: longer than a round trip to anywhere takes.
const DefaultStaleAfter = 400 * time.Millisecond

// Aged is a Resolver that may use the store's record of an earlier answer. Put
// it inside a [Retry]: what it answers from the store isn't asked for again.
type Aged struct {
	// Upstream is who is asked.
	Upstream Resolver
	// Refs holds the records. Needed unless Freshness is Fresh.
	Refs Refs
	// Freshness says when a record is used. Empty means Fresh.
	Freshness Freshness
	// Patience is how long upstream may take before a record stands in, with
	// StaleOK; the zero value is that for [DefaultStaleAfter].
	Patience Patience
	// Note, when set, is told where a record stands in: how old it is, and who
	// gave the answer then.
	Note func(where, text string)
}

// Resolve implements [Resolver]. A record stands in for upstream only where
// nobody could be asked: down, silent or too busy. That the name isn't known
// (any more), that asking it isn't allowed, that a certificate is wrong are
// answers, and remain errors.
func (a Aged) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	if a.Freshness != Pinned && a.Freshness != StaleOK {
		return a.Upstream.Resolve(ctx, n, known)
	}
	kept, err := Store{Refs: a.Refs}.Resolve(ctx, n, known)
	switch {
	case errors.Is(err, ErrNotFound):
		return a.Upstream.Resolve(ctx, n, known)
	case err != nil:
		return Resolution{}, err
	case a.Freshness == Pinned:
		return kept, nil
	}
	got, err := a.within(ctx, n, known)
	if err == nil || ctx.Err() != nil || !unavailable(err) {
		return got, err
	}
	if a.Note != nil {
		a.Note(kept.By.URI, fmt.Sprintf("%s: nobody can be asked (%v); going by the answer of %s, %s old: %s",
			n.Familiar(), err, kept.By.Time.UTC().Format(time.RFC3339), age(time.Since(kept.By.Time)), kept.Descriptor.Digest))
	}
	return kept, nil
}

// within asks upstream for a limited time.
func (a Aged) within(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	patience := a.Patience
	if patience == (Patience{}) {
		patience = PatienceFor(DefaultStaleAfter)
	}
	limited, cancel := patience.Limit(ctx, n.String())
	defer cancel()
	got, err := a.Upstream.Resolve(limited, n, known)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = context.Cause(limited)
	}
	return got, err
}

// unavailable reports whether err says that nobody could be asked.
func unavailable(err error) bool {
	return (errors.Is(err, transport.ErrTemporary) || errors.Is(err, transport.ErrThrottled)) &&
		!errors.Is(err, ErrNotFound) && !errors.Is(err, transport.ErrRefused)
}

// age returns a duration in the largest unit that it has one of.
func age(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / unit.d); n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return fmt.Sprintf("%d s", int(max(d, 0).Seconds()))
}
