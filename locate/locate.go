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
// Each URI is yielded once.
func All(locators ...Locator) Locator {
	if len(locators) == 1 {
		return locators[0]
	}
	return all(locators)
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
		seen := map[string]bool{}
		for ans := range answers {
			if ans.err == nil && seen[ans.route.URI] {
				continue
			}
			seen[ans.route.URI] = ans.err == nil
			if !yield(ans.route, ans.err) {
				return
			}
		}
	}
}
