package fetch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// aside holds bytes that differ from those on disk, beside them, while it isn't
// known which are right. With no majority to go by, that lets all sources be
// read crosswise at once and every one be tried without reading anything twice.
type aside struct {
	f  *os.File // same offsets as the blob; sparse, and without a name
	by map[*source]spans
}

// crosswise reads the ranges in doubt from other sources than they came from,
// all at once, puts what differs aside, and then tries each source's version.
// It returns nil whether or not one was right; see right.
func (r *repair) crosswise(doubt spans, order []*source, hasty bool) error {
	t := r.t
	free, err := t.e.opts.Store.Free()
	if err != nil || free < 2*doubt.size() {
		return nil // it can be done without, by reading more
	}
	f, err := os.CreateTemp(filepath.Dir(t.ingest.File().Name()), "aside-")
	if err != nil {
		return fmt.Errorf("put bytes in doubt aside: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("put bytes in doubt aside: %w", err)
	}
	t.mu.Lock()
	r.aside = &aside{f: f, by: map[*source]spans{}}
	t.mu.Unlock()
	for tried := []*source(nil); err == nil; {
		var ready *source
		if doubt, ready, err = r.readCrosswise(doubt, order, tried, hasty); err != nil || ready == nil {
			break
		}
		tried = append(tried, ready)
		if err = r.swapIn(ready); err != nil {
			break
		}
		var ok bool
		if ok, err = r.verdict(); ok {
			break
		}
	}
	r.aside = nil
	if errors.Is(err, errExhausted) {
		return nil
	}
	return err
}

// readCrosswise reads the ranges in todo afresh until one of the sources not
// tried yet has had its say on all of them, or no more can be read. It returns
// that source, or nil, and what is left to read.
func (r *repair) readCrosswise(todo spans, order, tried []*source, hasty bool) (left spans, ready *source, err error) {
	t := r.t
	enough := func() bool { // with t.mu held
		if t.writing > 0 {
			return false
		}
		for _, src := range order {
			if !slices.Contains(tried, src) && len(r.aside.by[src]) > 0 && len(t.need.minus(r.vouched[src])) == 0 {
				ready = src
				return true
			}
		}
		return false
	}
	t.mu.Lock()
	r.asideOnly = true
	t.mu.Unlock()
	err = r.readUntil(&todo, plan{afresh: true, hasty: hasty, enough: enough})
	t.mu.Lock()
	defer t.mu.Unlock()
	r.asideOnly = false
	if err == nil && ready == nil {
		enough()
	}
	return todo, ready, err
}

// putAside keeps what src sent for p beside what is on disk.
func (r *repair) putAside(src *source, p span, b []byte) error {
	if _, err := r.aside.f.WriteAt(b, p.start); err != nil {
		return fmt.Errorf("put bytes in doubt aside: %w", err)
	}
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	r.aside.give(src, p)
	r.dispute.add(p.start, p.end)
	return nil
}

func (a *aside) give(src *source, p span) {
	v := a.by[src]
	v.add(p.start, p.end)
	a.by[src] = v
}

func (a *aside) take(src *source, p span) {
	v := a.by[src]
	v.remove(p.start, p.end)
	a.by[src] = v
}

// swapIn exchanges src's bytes that lie aside with those on disk.
func (r *repair) swapIn(src *source) error {
	for _, s := range slices.Clone(r.aside.by[src]) {
		for off := s.start; off < s.end; off += bufferSize {
			if err := r.swap(src, span{off, min(off+bufferSize, s.end)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *repair) swap(src *source, p span) error {
	t := r.t
	is, was := make([]byte, p.len()), make([]byte, p.len())
	if _, err := r.aside.f.ReadAt(is, p.start); err != nil {
		return fmt.Errorf("read back bytes in doubt: %w", err)
	}
	if _, err := t.ingest.ReadAt(was, p.start); err != nil {
		return fmt.Errorf("read back bytes %d-%d of the partial: %w", p.start, p.end-1, err)
	}
	owners := r.owners(p)
	if err := r.write(src, p, is); err != nil {
		return err
	}
	if _, err := r.aside.f.WriteAt(was, p.start); err != nil {
		return fmt.Errorf("put bytes in doubt aside: %w", err)
	}
	r.aside.take(src, p)
	for _, o := range owners {
		r.aside.give(o.by, o.span)
	}
	return nil
}

// owners returns whose bytes are on disk in p.
func (r *repair) owners(p span) []served {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	var out []served
	have := r.t.have
	for i := have.search(p.start); i < len(have) && have[i].start < p.end; i++ {
		e := have[i]
		e.start, e.end = max(e.start, p.start), min(e.end, p.end)
		out = append(out, e)
	}
	return out
}
