package fetch

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// sizeUnknown asks the sources how large the blob is and tries the sizes they
// name, the one most of them name first.
func (t *transfer) sizeUnknown() (*Result, error) {
	sizes, err := t.askSizes()
	for i, n := range sizes {
		if i > 0 {
			t.reset()
			t.forgive()
			t.e.event(EventFailed, t.desc.Digest, nil, "%v; trying it as a blob of %d bytes", err, n)
		}
		t.mu.Lock()
		t.size = n
		t.mu.Unlock()
		var r *Result
		if r, err = t.sizeKnown(); err == nil || t.ctx.Err() != nil {
			return r, err
		}
	}
	return nil, err
}

// forgive lets members that were dropped for a size the blob may not have try
// again with another.
func (t *transfer) forgive() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.members {
		m.gone = false
	}
}

// sizeAnswer is what one source said of the blob's size.
type sizeAnswer struct {
	m    *member
	size int64 // -1 when it can't say
	err  error
}

// askSizes asks all sources for the blob's size and returns the answers, those
// most sources agree on first. Once there is one, the others are not waited for
// long.
func (t *transfer) askSizes() ([]int64, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	answers := make(chan sizeAnswer)
	asked, busy := map[*member]bool{}, 0
	votes := map[int64]int{}
	enough := time.NewTimer(t.e.opts.FirstByte)
	defer enough.Stop()
	again := time.NewTicker(tick)
	defer again.Stop()
asking:
	for {
		ready, later := t.candidates(time.Now())
		for _, m := range ready {
			if !asked[m] {
				asked[m] = true
				busy++
				go t.askSize(ctx, m, answers)
			}
		}
		if busy == 0 && !later {
			break
		}
		select {
		case a := <-answers:
			busy--
			if t.weighSize(a) {
				votes[a.size]++
				if len(votes) == 1 && votes[a.size] == 1 {
					enough.Reset(patience)
				}
			} else if a.err != nil {
				delete(asked, a.m) // unless it is gone, it is asked again
			}
		case <-enough.C:
			break asking
		case <-ctx.Done():
			break asking
		case <-again.C:
		case <-t.news:
		}
	}
	cancel()
	for range busy {
		<-answers
	}
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	if len(votes) == 0 {
		return nil, t.failure()
	}
	return byVotes(votes), nil
}

// byVotes returns the sizes, those with the most votes first, of equals the
// smallest, which costs the least to find wrong.
func byVotes(votes map[int64]int) []int64 {
	return slices.SortedFunc(maps.Keys(votes), func(a, b int64) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a, b))
	})
}

func (t *transfer) askSize(ctx context.Context, m *member, answers chan<- sizeAnswer) {
	a := sizeAnswer{m: m, size: -1}
	if sizer, ok := t.e.opts.Transport.(transport.Sizer); ok {
		a.size, a.err = sizer.Size(ctx, m.route, t.desc)
	}
	answers <- a
}

// weighSize reports whether an answer names a size the blob may have.
func (t *transfer) weighSize(a sizeAnswer) bool {
	switch {
	case a.err == nil && a.size > 0:
		return true
	case a.err != nil:
	case a.size < 0:
		t.mu.Lock()
		a.m.last = errors.New("doesn't say how large the blob is; give its size")
		t.mu.Unlock()
		return false
	default:
		a.err = transport.Errorf(transport.ErrPermanent, a.m.route.URI, "says the blob is empty, which its digest denies")
	}
	gone := a.m.src.failed(a.err, 0, time.Now())
	t.mu.Lock()
	a.m.last, a.m.gone = a.err, a.m.gone || gone
	t.mu.Unlock()
	t.e.event(EventFailed, t.desc.Digest, a.m.src, "%s", reasonOf(a.err))
	return false
}
