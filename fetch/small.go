package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/transport"
)

const (
	// smallMax is the largest blob that is asked for in one piece and held in
	// memory until it is verified.
	smallMax = 512 << 10

	hedgeGuess = 250 * time.Millisecond // for a source whose latency isn't known
	hedgeMin   = 20 * time.Millisecond
)

// answer is what one source sent for a small blob.
type answer struct {
	m       *member
	content []byte
	err     error
}

var errQuiet = errors.New("sent nothing for too long")

// small asks the best source for the whole blob, and the next one beside it
// when that takes longer than it usually does or fails. Each answer is
// verified by itself, so a lie is known at once for whose it is.
func (t *transfer) small() (*Result, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	answers := make(chan answer)
	busy := map[*member]bool{}
	var wrong []answer
	hedge := time.NewTimer(0)
	defer hedge.Stop()
	begin := true // another source may be asked now
	for {
		ready, later := t.candidates(time.Now())
		if begin {
			if m := best(ready, busy); m != nil {
				if len(busy) > 0 {
					t.e.event(EventHedged, t.desc.Digest, m.src, "beside %d that has not answered yet", len(busy))
				}
				busy[m] = true
				begin = false
				hedge.Reset(hedgeAfter(m))
				go t.askWhole(ctx, m, answers)
			}
		}
		if len(busy) == 0 && !later && best(ready, busy) == nil {
			tellApart(wrong)
			return nil, t.failure()
		}
		select {
		case a := <-answers:
			delete(busy, a.m)
			if r, err := t.weigh(a, &wrong); r != nil || err != nil {
				cancel()
				drain(answers, len(busy))
				return r, err
			}
			begin = true
		case <-hedge.C:
			begin = true
			hedge.Reset(tick)
		case <-t.news:
		case <-t.ctx.Done():
			cancel()
			drain(answers, len(busy))
			return nil, t.ctx.Err()
		}
	}
}

// drain waits for the goroutines that still have an answer to give.
func drain(answers <-chan answer, n int) {
	for range n {
		<-answers
	}
}

// best returns the member to ask next: by priority, then by what was measured.
func best(ready []*member, busy map[*member]bool) *member {
	free := make([]*member, 0, len(ready))
	for _, m := range ready {
		if !busy[m] {
			free = append(free, m)
		}
	}
	if len(free) == 0 {
		return nil
	}
	sort.SliceStable(free, func(i, j int) bool {
		a, b := free[i], free[j]
		if a.route.Priority != b.route.Priority {
			return a.route.Priority < b.route.Priority
		}
		_, la := a.src.speed()
		_, lb := b.src.speed()
		if la == 0 || lb == 0 {
			return false // in the order they became known
		}
		return la < lb/2 // a clear difference only
	})
	return free[0]
}

func hedgeAfter(m *member) time.Duration {
	_, latency := m.src.speed()
	if latency == 0 {
		return hedgeGuess
	}
	return max(hedgeMin, 3*latency)
}

// askWhole reads the whole blob from m into memory, for as long as its bytes
// keep coming.
func (t *transfer) askWhole(ctx context.Context, m *member, answers chan<- answer) {
	opts := &t.e.opts
	most := minRateWindow + time.Duration(float64(t.size)/float64(opts.MinRate)*float64(time.Second))
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("slower than %d B/s", opts.MinRate))
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	quiet := time.AfterFunc(opts.FirstByte, func() { end(errQuiet) })
	defer quiet.Stop()
	t.mu.Lock()
	first := !m.asked
	m.asked = true
	t.mu.Unlock()
	if first {
		t.e.event(EventAsked, t.desc.Digest, m.src, "")
	}
	content, err := t.readWhole(ctx, m, func() { quiet.Reset(opts.Stall) })
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = transport.Errorf(transport.ErrTemporary, m.route.URI, "%w", cause)
	}
	answers <- answer{m, content, err}
}

// readWhole reads the whole blob from m, calling progress whenever bytes come.
func (t *transfer) readWhole(ctx context.Context, m *member, progress func()) ([]byte, error) {
	desc := t.desc
	desc.Size = t.size
	start := time.Now()
	body, err := t.e.opts.Transport.Open(ctx, m.route, desc, 0, t.size)
	if errors.Is(err, transport.ErrRangeUnsupported) {
		err = transport.Errorf(transport.ErrPermanent, m.route.URI, "takes a request for the whole blob for a range")
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	m.src.opened(time.Since(start))
	content := make([]byte, t.size)
	for n := 0; n < len(content); {
		k, err := body.Read(content[n:])
		n += k
		if k > 0 {
			m.src.read(k, time.Now())
			progress()
		}
		switch {
		case n == len(content) || err == nil:
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil, endedEarly(m.route.URI, int64(len(content)-n), err)
		default:
			return nil, err
		}
	}
	return content, expectEOF(body)
}

// weigh verifies an answer. It returns a result when the blob is in the store,
// an error that ends the matter, or neither: then others are to be asked.
func (t *transfer) weigh(a answer, wrong *[]answer) (*Result, error) {
	if t.ctx.Err() != nil {
		return nil, t.ctx.Err()
	}
	d, src := t.desc.Digest, a.m.src
	if a.err != nil && a.content == nil {
		gone := src.failed(a.err, 0, time.Now())
		t.mu.Lock()
		a.m.last, a.m.gone = a.err, gone
		t.mu.Unlock()
		what := EventFailed
		if errors.Is(a.err, transport.ErrNotFound) {
			what = EventMissing
		}
		t.e.event(what, d, src, "%s", reasonOf(a.err))
		return nil, nil
	}
	sum := sumOf(d, a.content)
	if sum != d {
		t.convictAnswer(a, sum)
		*wrong = append(*wrong, a)
		return nil, nil
	}
	if a.err != nil { // right, and then it went on, or broke
		src.failed(a.err, 0, time.Now())
		t.e.event(EventFailed, d, src, "%s", reasonOf(a.err))
	} else {
		src.progressed()
	}
	for _, w := range *wrong {
		tellDifference(w, a)
	}
	if err := t.e.opts.Store.Put(d, a.content); err != nil {
		return nil, err
	}
	t.e.event(EventVerified, d, nil, "%d bytes", t.size)
	return &Result{Digest: d, Size: t.size, Served: []Served{{src.key, 0, t.size}}}, nil
}

// convictAnswer quarantines who sent a whole blob with another digest.
func (t *transfer) convictAnswer(a answer, sum digest.Digest) {
	reason := fmt.Sprintf("sent wrong bytes: all %d of blob %s have digest %s", t.size, t.desc.Digest, sum)
	t.disprove(a.m.src, reason)
}

// tellApart adds to why liars were quarantined where each first differs from
// another, when nobody sent the right bytes to compare with.
func tellApart(wrong []answer) {
	for i, a := range wrong {
		for j, b := range wrong {
			if i != j && tellDifference(a, b) {
				break
			}
		}
	}
}

// tellDifference adds to why a was quarantined where it first differs from b.
func tellDifference(a, b answer) bool {
	off, ok := firstDifference(a.content, b.content)
	if ok {
		a.m.src.amend(fmt.Sprintf("; it first differs from %s in bytes %d-%d", b.m.src.key, off, len(a.content)-1))
	}
	return ok
}

// disprove drops src for sending a whole blob of another digest, and convicts
// it, unless the size is only what some source said: then that may be the lie.
func (t *transfer) disprove(src *source, reason string) {
	if t.desc.Size >= 0 {
		t.convict(src, reason)
		return
	}
	t.mu.Lock()
	for _, m := range t.members {
		if m.src == src {
			m.gone, m.lied, m.last = true, true, errors.New(reason)
		}
	}
	t.mu.Unlock()
	t.e.event(EventGone, t.desc.Digest, src, "%s", reason)
}

// convict quarantines src for what it sent of this blob. It is not asked for
// anything any more.
func (t *transfer) convict(src *source, reason string) {
	t.mu.Lock()
	for _, m := range t.members {
		if m.src == src {
			m.gone, m.lied = true, true
		}
	}
	t.mu.Unlock()
	if src.quarantine(reason) {
		t.e.event(EventQuarantined, t.desc.Digest, src, "%s", reason)
	}
}

// firstDifference returns the offset of the first byte in which a and b differ.
func firstDifference(a, b []byte) (int64, bool) {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int64(i), true
		}
	}
	return int64(min(len(a), len(b))), len(a) != len(b)
}
