package fetch

import (
	"errors"
	"time"

	"github.com/opencontainers/go-digest"
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
		if r, cachedErr := t.cached(); r != nil || cachedErr != nil {
			return r, cachedErr
		}
	}
	if err != nil {
		return nil, err
	}
	if err := t.resume(ing); err != nil {
		return nil, letGo(ing, err)
	}
	t.hash.start(t)
	stopSyncing, stopLearning := t.checkpoints(), t.learnPieces()
	err = t.complete()
	stopLearning()
	stopSyncing()
	t.hash.end()
	if local := t.localFault(); local != nil {
		err = local // whatever came of it elsewhere, and also when nothing did
	}
	if err != nil {
		return nil, letGo(ing, err)
	}
	if err := ing.Commit(); err != nil {
		return nil, err
	}
	t.e.event(EventVerified, d, nil, "%d bytes", t.size)
	return t.outcome(), nil
}

// letGo ends an ingest that failed with err. The disk space of one that holds
// nothing is given back at once.
func letGo(ing *store.Ingest, err error) error {
	end := ing.Close
	if len(ing.Extents()) == 0 {
		end = ing.Discard
	}
	if endErr := end(); endErr != nil {
		return errors.Join(err, endErr)
	}
	return err
}

func (t *transfer) localFault() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.local
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
	past := map[string]*source{}
	for _, x := range ing.Extents() {
		if past[x.Source] == nil {
			past[x.Source] = &source{key: x.Source, past: true}
		}
		t.have.set(served{span{x.Offset, x.Offset + x.Length}, past[x.Source], true})
		t.need.remove(x.Offset, x.Offset+x.Length)
		t.resumed += x.Length
	}
	t.extendPrefix()
	if t.resumed > 0 {
		t.say(EventResumed, nil, "%d of %d bytes were here", t.resumed, t.size)
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
	sum, err := t.downloadAll()
	if err != nil {
		return err
	}
	if sum == t.desc.Digest {
		t.convictByPieces()
		return nil
	}
	t.dropPieces("the bytes have another digest")
	t.e.event(EventMismatch, t.desc.Digest, nil, "the bytes have digest %s; looking for who sent wrong ones", sum)
	return t.mend()
}

// downloadAll downloads what is missing, once more where pieces turn out wrong,
// and returns the digest of it all.
func (t *transfer) downloadAll() (digest.Digest, error) {
	for {
		switch err := t.download(plan{}); {
		case errors.Is(err, errExhausted) && (t.askOthers() || t.dropPieces("nobody is left to ask for what disagrees with it")):
			continue
		case errors.Is(err, errExhausted):
			return "", t.failure()
		case err != nil:
			return "", err
		}
		sum, err := t.hash.sum()
		if !errors.Is(err, errTakenBack) {
			return sum, err
		}
	}
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
