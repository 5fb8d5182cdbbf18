package fetch

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-project/waybill/transport"
)

const (
	sampleSize  = 8 << 10
	sampleSteps = 96      // of the blob at most
	sampleStep  = 4 << 20 // at least
	sampleConns = 4       // requests to one source at a time
)

// sampled is a place at which what one source served was compared with what
// others have.
type sampled struct {
	at     span
	server *source
	step   span // the range this sample speaks for
	differ bool
}

// witness is a member that is asked for samples.
type witness struct {
	*member
	gate   chan struct{} // a place for each request it may answer at a time
	failed atomic.Int32
}

// sampleFailures is how many requests a witness may fail before it is left out.
const sampleFailures = 2

// sample compares a few bytes of every step of the blob with what another
// source has, and returns the steps in doubt: those with a difference and
// their neighbours from the same server, since a lie need not begin at a step.
func (r *repair) sample() (spans, error) {
	t := r.t
	places := r.places()
	witnesses := r.witnesses()
	var turn atomic.Int64
	var wg sync.WaitGroup
	for range len(witnesses) * sampleConns {
		wg.Go(func() {
			for i := turn.Add(1) - 1; i < int64(len(places)) && t.ctx.Err() == nil; i = turn.Add(1) - 1 {
				r.compare(&places[i], witnesses, int(i))
			}
		})
	}
	wg.Wait()
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	var doubt spans
	for i, p := range places {
		if !p.differ {
			continue
		}
		doubt.add(p.step.start, p.step.end)
		for _, j := range []int{previous(places, i), next(places, i)} {
			if j >= 0 {
				doubt.add(places[j].step.start, places[j].step.end)
			}
		}
	}
	return doubt, nil
}

// previous returns the index of the place before i with the same server, or -1.
func previous(places []sampled, i int) int {
	for j := i - 1; j >= 0; j-- {
		if places[j].server == places[i].server {
			return j
		}
	}
	return -1
}

// next returns the index of the place after i with the same server, or -1.
func next(places []sampled, i int) int {
	for j := i + 1; j < len(places); j++ {
		if places[j].server == places[i].server {
			return j
		}
	}
	return -1
}

// places lays the samples out: one in the middle of every step of every range.
func (r *repair) places() []sampled {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	step := max(sampleStep, t.size/sampleSteps)
	var out []sampled
	for _, e := range t.have {
		for start := e.start; start < e.end; start += step {
			s := span{start, min(start+step, e.end)}
			mid := max(s.start, s.start+s.len()/2-sampleSize/2)
			out = append(out, sampled{at: span{mid, min(mid+sampleSize, s.end)}, server: e.by, step: s})
		}
	}
	return out
}

// witnesses returns the members that can be asked for small ranges.
func (r *repair) witnesses() []*witness {
	ready, _ := r.t.candidates(time.Now())
	var out []*witness
	for _, m := range ready {
		if !m.src.isWholeOnly() {
			out = append(out, &witness{member: m, gate: make(chan struct{}, sampleConns)})
		}
	}
	return out
}

// compare asks another source than the place's server for its bytes and, where
// they differ, a third one who is right.
func (r *repair) compare(p *sampled, witnesses []*witness, turn int) {
	t := r.t
	mine := make([]byte, p.at.len())
	if _, err := t.ingest.ReadAt(mine, p.at.start); err != nil {
		return // what can't be read back shows when it is hashed
	}
	var votes []vote
	for k := range witnesses {
		w := witnesses[(turn+k)%len(witnesses)]
		if w.src == p.server || len(votes) == 2 || len(votes) == 1 && !p.differ {
			continue
		}
		w.gate <- struct{}{}
		var b []byte
		err := errExhausted
		if w.failed.Load() < sampleFailures {
			b, err = t.readRange(w.member, p.at)
		}
		<-w.gate
		if err != nil {
			w.failed.Add(1)
			continue
		}
		same := bytes.Equal(b, mine)
		if len(votes) == 0 && !same {
			p.differ = true
		}
		votes = append(votes, vote{w.src, same, b})
	}
	if len(votes) < 2 || !p.differ {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch first, second := votes[0], votes[1]; {
	case second.same:
		r.losses[first.src]++
	case bytes.Equal(first.bytes, second.bytes):
		r.losses[p.server]++
	}
}

// vote is what a witness has at a place.
type vote struct {
	src   *source
	same  bool // as on disk
	bytes []byte
}

// readRange reads a small range from m.
func (t *transfer) readRange(m *member, at span) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	desc := t.desc
	desc.Size = t.size
	body, err := t.e.opts.Transport.Open(ctx, m.route, desc, at.start, at.len())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b := make([]byte, at.len())
	n, err := io.ReadFull(body, b)
	m.src.read(n, time.Now())
	if err != nil {
		return nil, transport.Errorf(transport.ErrTemporary, m.route.URI, "%v", err)
	}
	return b, nil
}
