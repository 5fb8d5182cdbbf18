package fetch

import (
	"errors"
	"fmt"
	"time"

	"github.com/waybill-project/waybill/store"
)

const (
	checkpointEvery = 5 * time.Second // what a power loss may cost
	checkpointBytes = 256 << 20
)

// large brings in a blob through a resumable ingest.
func (t *transfer) large() (*Result, error) {
	d := t.desc.Digest
	ing, err := t.e.opts.Store.Ingest(t.ctx, d, t.size)
	if errors.Is(err, store.ErrExists) {
		return t.cached(t.size)
	}
	if err != nil {
		return nil, err
	}
	if err := t.resume(ing); err != nil {
		ing.Close()
		return nil, err
	}
	t.hash.start(t)
	stop := t.checkpoints()
	err = t.complete()
	stop()
	t.hash.end()
	switch {
	case err == nil:
		if err := ing.Commit(); err != nil {
			ing.Close()
			return nil, err
		}
	case t.condemned:
		// Nothing on disk can be told from a lie: keep none of it.
		return nil, errors.Join(err, ing.Discard())
	default:
		return nil, errors.Join(err, ing.Close())
	}
	t.e.event(EventVerified, d, nil, "%d bytes", t.size)
	return t.outcome(), nil
}

// resume takes up what an earlier fetch left, and makes sure of the space for
// the rest.
func (t *transfer) resume(ing *store.Ingest) error {
	if err := ing.Preallocate(); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ingest = ing
	t.need.add(0, t.size)
	for _, x := range ing.Extents() {
		t.have.set(served{span{x.Offset, x.Offset + x.Length}, t.e.source(x.Source, "resumed"), true})
		t.need.remove(x.Offset, x.Offset+x.Length)
		t.resumed += x.Length
	}
	t.extendPrefix()
	if t.resumed > 0 {
		t.e.event(EventResumed, t.desc.Digest, nil, "%d of %d bytes were here", t.resumed, t.size)
	}
	return nil
}

// checkpoints makes what has arrived durable every so often, beside the
// download, so that the last sync is a short one.
func (t *transfer) checkpoints() (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		last, lastTime := int64(0), time.Now()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			done := t.report().Done
			if done-last < checkpointBytes && (time.Since(lastTime) < checkpointEvery || done == last) {
				continue
			}
			if err := t.ingest.Checkpoint(); err != nil {
				t.mu.Lock()
				t.fail(err)
				t.mu.Unlock()
				return
			}
			last, lastTime = done, time.Now()
		}
	}()
	return func() { close(quit); <-ended }
}

// complete downloads what is missing and doesn't return nil before the digest
// is right.
func (t *transfer) complete() error {
	switch err := t.download(plan{}); {
	case errors.Is(err, errExhausted):
		return t.failure()
	case err != nil:
		return err
	}
	sum, err := t.hash.sum()
	if err != nil {
		return err
	}
	if sum == t.desc.Digest {
		return nil
	}
	t.e.event(EventMismatch, t.desc.Digest, nil, "the bytes have digest %s; looking for who sent wrong ones", sum)
	err = t.mend()
	t.condemned = errors.Is(err, ErrVerification)
	return err
}

// outcome tells who served what in this fetch.
func (t *transfer) outcome() *Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &Result{Digest: t.desc.Digest, Size: t.size}
	for _, e := range t.have {
		if e.resumed {
			r.Resumed += e.len()
			continue
		}
		r.Served = append(r.Served, Served{e.by.key, e.start, e.len()})
	}
	return r
}

// sizeUnknown asks the sources how large the blob is and tries the sizes they
// name, the one most of them name first. A manifest or index, which is small,
// is read without asking.
func (t *transfer) sizeUnknown() (*Result, error) {
	sizes, err := t.askSizes()
	if err != nil {
		return nil, err
	}
	for i, n := range sizes {
		t.mu.Lock()
		t.size = n
		t.mu.Unlock()
		if i > 0 {
			t.e.event(EventFailed, t.desc.Digest, nil, "trying it as a blob of %d bytes", n)
		}
		var r *Result
		if n == 0 {
			r, err = t.embedded()
		} else {
			r, err = t.sizeKnown()
		}
		if err == nil || t.ctx.Err() != nil {
			return r, err
		}
		t.forgive()
	}
	if err == nil {
		err = fmt.Errorf("blob %s: no source says how large it is; give its size", t.desc.Digest)
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
	t.have, t.need, t.prefix, t.resumed, t.hash = nil, nil, 0, 0, hasher{}
	t.ingest, t.repair = nil, nil
}
