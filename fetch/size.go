package fetch

import (
	"context"
	"sort"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/transport"
)

// askSizes asks all sources for the blob's size and returns the answers, those
// most sources agree on first. A source that can't say counts for none.
func (t *transfer) askSizes() ([]int64, error) {
	sizer, ok := t.e.opts.Transport.(transport.Sizer)
	if !ok {
		sizer = noSizer{}
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.e.opts.FirstByte)
	defer cancel()
	var (
		mu     sync.Mutex
		votes  = map[int64]int{}
		wg     sync.WaitGroup
		asked  = map[*member]bool{}
		agreed = make(chan struct{}, 1)
	)
	ask := func(m *member) {
		defer wg.Done()
		n, err := sizer.Size(ctx, m.route, t.desc)
		if err != nil {
			if ctx.Err() == nil {
				t.noteSizeError(m, err)
			}
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if n >= 0 {
			votes[n]++
			signal(agreed)
		}
	}
	for {
		ready, later := t.candidates(time.Now())
		for _, m := range ready {
			if !asked[m] {
				asked[m] = true
				wg.Add(1)
				go ask(m)
			}
		}
		if !later {
			break
		}
		select {
		case <-t.news:
			continue
		case <-time.After(tick):
			continue
		case <-ctx.Done():
		}
		break
	}
	// A source that never answers must not hold up the others for long.
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	select {
	case <-all:
	case <-agreed:
		select {
		case <-all:
		case <-time.After(patience):
		}
	}
	cancel()
	<-all
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	sizes := make([]int64, 0, len(votes))
	for n := range votes {
		sizes = append(sizes, n)
	}
	sort.Slice(sizes, func(i, j int) bool {
		if votes[sizes[i]] != votes[sizes[j]] {
			return votes[sizes[i]] > votes[sizes[j]]
		}
		return sizes[i] < sizes[j]
	})
	if len(sizes) == 0 {
		return nil, t.failure()
	}
	return sizes, nil
}

func (t *transfer) noteSizeError(m *member, err error) {
	gone := m.src.failed(err, 0, time.Now())
	t.mu.Lock()
	m.last, m.gone = err, m.gone || gone
	t.mu.Unlock()
	t.e.event(EventFailed, t.desc.Digest, m.src, "%s", reasonOf(err))
}

// noSizer stands in for a transport that can't tell sizes.
type noSizer struct{}

func (noSizer) Size(_ context.Context, r transport.Route, _ ocispec.Descriptor) (int64, error) {
	return 0, transport.Errorf(transport.ErrPermanent, r.URI, "can't say how large a blob is")
}
