package locate

import (
	"context"
	"iter"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/transport"
)

// Locator is one source of knowledge about where blobs are. Implementations are
// safe for concurrent use.
type Locator interface {
	// Locate yields the places desc may be had, as it learns of them. That a
	// place is yielded doesn't mean it has the blob. An error says that a part
	// of the knowledge could not be used; routes may follow it.
	Locate(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error]
}

// Func makes a Locator of a function.
type Func func(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error]

// Locate calls f.
func (f Func) Locate(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return f(ctx, desc)
}

// All is a Locator that asks all of the given ones at once and yields what
// they say as they say it, so that a slow one holds up none of the others.
// Each URI is yielded once, see [Seen].
func All(locators ...Locator) Locator {
	if len(locators) == 1 {
		return locators[0]
	}
	return all(locators)
}

// InOrder is a Locator that asks one of the given ones after the other, and yields
// what they say until that is most places or errors.
func InOrder(most int, locators ...Locator) Locator {
	return Func(func(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			n := 0
			for _, l := range locators {
				for r, err := range l.Locate(ctx, desc) {
					if n == most || !yield(r, err) {
						return
					}
					n++
				}
			}
		}
	})
}

type all []Locator

type answer struct {
	route transport.Route
	err   error
}

func (a all) Locate(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return func(yield func(transport.Route, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		answers := make(chan answer)
		var wg sync.WaitGroup
		for _, l := range a {
			wg.Go(func() {
				for route, err := range l.Locate(ctx, desc) {
					select {
					case answers <- answer{route, err}:
					case <-ctx.Done():
						return
					}
				}
			})
		}
		go func() { wg.Wait(); close(answers) }()
		defer func() {
			cancel()
			for range answers { // until all have ended
			}
		}()
		seen := Seen{}
		for ans := range answers {
			if ans.err == nil && seen.Add(ans.route) {
				continue
			}
			if !yield(ans.route, ans.err) {
				return
			}
		}
	}
}

// Seen holds the URIs of one blob's routes that were yielded, with who named them.
type Seen map[string]transport.Remote

// Add adds a route, and reports whether it says nothing new. A place that only a
// document named says less than the same one named by the user, which may be in
// any network and be sent credentials: a stranger who is faster takes no source
// away (spec/security.md §2).
func (s Seen) Add(r transport.Route) (again bool) {
	by, seen := s[r.URI]
	if seen && (r.Remote != 0 || by == 0) && r.Remote.Floor() >= by.Floor() {
		return true
	}
	s[r.URI] = r.Remote
	return false
}
