package fetch

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// All bytes of a blob are on disk and its digest is wrong: somebody lied, and
// each byte is known to come from one source, but not which of them are wrong.
//
// The way out is to read ranges again from another source than the one that
// served them and to compare. Every comparison adds to what is known: two
// sources vouch for a range (both sent these bytes), or one of them lied
// there. From cheap to dear, until the digest is right:
//
//  1. Samples: a few kilobytes of every so many megabytes are compared. A lie
//     of any length shows, and where it begins and ends is known to within one
//     step. Only the steps in doubt are read again, from the sources that
//     never lost a comparison against two others. Where there is no such
//     majority they are read crosswise, by all sources at once, what differs is
//     kept aside, and each source's version is tried (aside.go).
//  2. Everything nobody else vouches for is read again, each range from
//     another source, and then the ranges in dispute are taken from each
//     source in turn.
//  3. All of the blob is taken from one source, each in turn: the others may
//     agree on a lie.
//
// A source whose bytes make up the whole blob, with the wrong digest, is proven
// to lie; when the digest is right, so is everyone who ever sent bytes that
// differ from it. Nobody is condemned by a vote: votes only choose the order.
//
// What an earlier fetch left on disk stands for a source of its own, past, that
// can't be asked: wrong bytes there may be the disk's fault and prove nothing
// against whoever once sent them.

// errProven ends the search: every source at hand is proven to lie.
var errProven = errors.New("every source is proven wrong")

// repair is what is known in the search for the liar.
type repair struct {
	t         *transfer
	vouched   map[*source]spans // ranges in which the source sent what is on disk
	dispute   spans             // ranges in which two sources differed
	losses    map[*source]int   // comparisons lost against two others
	diffs     []difference
	aside     *aside // versions of what is in dispute
	asideOnly bool   // what differs is put aside and not on disk

	dirty int64 // lowest offset at which bytes on disk have changed; -1: none
}

// difference is one comparison that failed.
type difference struct {
	at         span  // the bytes compared
	first      int64 // offset of the first byte that differs
	old, new   *source
	oldD, newD [sha256.Size]byte // digests of the bytes compared
}

// differencesMax bounds how many differences between the same two sources are
// kept; the first of each is what is told.
const differencesMax = 16

// mend finds out who lied and replaces what they sent. It returns nil when the
// digest is right, and an [*Error] that is [ErrVerification], or
// [ErrUnavailable], when no source at hand has the right bytes.
func (t *transfer) mend() error {
	r := &repair{t: t, vouched: map[*source]spans{}, losses: map[*source]int{}, dirty: -1}
	t.mu.Lock()
	t.repairing, t.repair = true, r
	for _, e := range t.have {
		v := r.vouched[e.by]
		v.add(e.start, e.end)
		r.vouched[e.by] = v
	}
	t.mu.Unlock()
	err := r.search()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repairing = false
	t.data.Broadcast()
	if err == nil {
		return nil
	}
	if t.local != nil {
		return t.local
	}
	return err
}

func (r *repair) search() error {
	t := r.t
	whole := spans{{0, t.size}}
	doubtful, err := r.sample()
	if err == nil {
		err = r.settle(doubtful, true)
	}
	if err == nil && !r.right() {
		err = r.readAgain(whole.minus(r.vouchedTwice()), plan{afresh: true, hasty: true})
		if err == nil {
			err = r.settle(r.dispute, true)
		}
	}
	for _, hasty := range []bool{true, false} {
		if err == nil && !r.right() {
			err = r.settle(whole, hasty)
		}
	}
	if err == nil && r.right() {
		r.convict()
		return nil
	}
	if err != nil && !errors.Is(err, errProven) {
		return err
	}
	r.accuse()
	if err := r.forget(); err != nil {
		return err
	}
	return t.failure()
}

// right reports whether the last digest computed was right.
func (r *repair) right() bool { return r.dirty == rightNow }

// rightNow is the value of dirty once the digest was found right.
const rightNow = -2

// verdict computes the digest again where bytes have changed and reports
// whether it is right now. If not, sources that vouch for every byte are proven
// wrong; errProven when that leaves nobody.
func (r *repair) verdict() (bool, error) {
	t := r.t
	if r.dirty >= 0 {
		t.hash.rewind(r.dirty)
		r.dirty = -1
	}
	sum, err := t.hash.sum()
	if err != nil {
		return false, err
	}
	if sum == t.desc.Digest {
		r.dirty = rightNow
		return true, nil
	}
	t.mu.Lock()
	var proven []*source
	for src, v := range r.vouched {
		if v.covers(0, t.size) && !src.past {
			proven = append(proven, src)
		}
	}
	t.mu.Unlock()
	for _, src := range proven {
		t.disprove(src, fmt.Sprintf("sent wrong bytes: with all %d of them from it blob %s has digest %s%s",
			t.size, t.desc.Digest, sum, r.firstAgainst(src)))
	}
	if len(r.suspects()) == 0 {
		return false, errProven
	}
	return false, nil
}

// settle tries to make the ranges in doubt right: from the sources no majority
// speaks against together, then from each source alone, the least suspect
// first. It returns nil whether or not it got there; see right. With hasty, a
// source that isn't at hand is passed over.
func (r *repair) settle(doubt spans, hasty bool) error {
	if ok, err := r.verdict(); ok || err != nil || len(doubt) == 0 {
		return err
	}
	all := r.suspects()
	var clean []*source
	for _, src := range all {
		if r.losses[src] == 0 {
			clean = append(clean, src)
		}
	}
	var groups [][]*source
	if len(clean) > 1 && len(clean) < len(all) {
		groups = append(groups, clean)
	} else if err := r.crosswise(doubt, all, hasty); err != nil || r.right() {
		return err
	}
	for _, src := range all {
		groups = append(groups, []*source{src})
	}
	for _, group := range groups {
		if err := r.from(group, doubt, hasty); err != nil && !errors.Is(err, errExhausted) {
			return err
		}
		if ok, err := r.verdict(); ok || err != nil {
			return err
		}
	}
	return nil
}

// from makes the ranges be as the sources of the group have them.
func (r *repair) from(group []*source, doubt spans, hasty bool) error {
	todo := slices.Clone(doubt)
	r.t.mu.Lock()
	for _, src := range group {
		todo = todo.minus(r.vouched[src])
	}
	r.t.mu.Unlock()
	return r.readAgain(todo, plan{
		allow: func(m *member) bool { return slices.Contains(group, m.src) },
		hasty: hasty,
	})
}

// suspects returns the sources that can still be asked, those who lost the
// fewest comparisons first, of equals the fastest.
func (r *repair) suspects() []*source {
	var out []*source
	r.t.mu.Lock()
	for _, m := range r.t.members {
		if !m.gone && !m.src.isQuarantined() && !slices.Contains(out, m.src) {
			out = append(out, m.src)
		}
	}
	r.t.mu.Unlock()
	slices.SortStableFunc(out, func(a, b *source) int {
		ra, _ := a.speed()
		rb, _ := b.speed()
		return cmp.Or(cmp.Compare(r.losses[a], r.losses[b]), cmp.Compare(rb, ra))
	})
	return out
}

// readAgain downloads the ranges anew, comparing with what is on disk. Ranges
// nobody could bring stay as they were; then the error is errExhausted.
func (r *repair) readAgain(todo spans, p plan) error { return r.readUntil(&todo, p) }

// readUntil is readAgain, and leaves in todo what wasn't brought.
func (r *repair) readUntil(todo *spans, p plan) error {
	t := r.t
	if len(*todo) == 0 {
		return nil
	}
	t.mu.Lock()
	t.need = slices.Clone(*todo)
	t.mu.Unlock()
	err := t.download(p)
	t.mu.Lock()
	*todo = t.need
	t.need, t.unclaimed = nil, nil
	t.mu.Unlock()
	if p.afresh && errors.Is(err, errExhausted) {
		return nil // what could be compared was
	}
	return err
}

// vouchedTwice returns the ranges for which two sources sent the same bytes.
func (r *repair) vouchedTwice() spans {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	var once, twice spans
	for _, v := range r.vouched {
		for _, s := range v {
			for _, again := range once.within(s.start, s.end) {
				twice.add(again.start, again.end)
			}
		}
		once = once.union(v)
	}
	return twice
}

// write takes bytes read again from src: compares them with those on disk and
// replaces these where they differ.
func (r *repair) write(src *source, p span, b []byte) error {
	t := r.t
	old := buffers.Get().(*[]byte)
	defer buffers.Put(old)
	was := (*old)[:len(b)]
	if _, err := t.ingest.ReadAt(was, p.start); err != nil {
		return fmt.Errorf("read back bytes %d-%d of the partial: %w", p.start, p.end-1, err)
	}
	if bytes.Equal(was, b) {
		t.mu.Lock()
		defer t.mu.Unlock()
		r.vouch(src, p)
		return nil
	}
	if r.asideOnly {
		return r.putAside(src, p, b)
	}
	t.mu.Lock()
	r.differ(src, p, was, b)
	for rd := range t.readers {
		if rd.seen > p.start {
			rd.rewound = true
		}
	}
	t.data.Broadcast()
	t.mu.Unlock()
	// Forgotten first: a kill in between must not leave src's bytes under
	// another's name.
	if err := t.ingest.Forget(p.start, p.len()); err != nil {
		return err
	}
	if _, err := t.ingest.WriteAt(b, p.start); err != nil {
		return err
	}
	return t.ingest.Record(p.start, p.len(), src.key)
}

func (r *repair) vouch(src *source, p span) {
	v := r.vouched[src]
	v.add(p.start, p.end)
	r.vouched[src] = v
}

// differ enters that src sent other bytes than those on disk, which are about
// to be replaced. t.mu is held.
func (r *repair) differ(src *source, p span, was, is []byte) {
	for s, v := range r.vouched {
		if s == src {
			continue
		}
		for _, at := range v.within(p.start, p.end) {
			was, is := was[at.start-p.start:at.end-p.start], is[at.start-p.start:at.end-p.start]
			first, differs := firstDifference(was, is)
			if !differs {
				continue
			}
			r.note(difference{at: at, first: at.start + first, old: s, new: src, oldD: sha256.Sum256(was), newD: sha256.Sum256(is)})
			v.remove(at.start, at.end)
		}
		r.vouched[s] = v
	}
	r.vouch(src, p)
	r.dispute.add(p.start, p.end)
	if r.dirty < 0 || p.start < r.dirty {
		r.dirty = p.start
	}
	r.t.have.set(served{span: p, by: src})
}

// note keeps a difference, up to a bound for each pair.
func (r *repair) note(d difference) {
	n := 0
	for _, o := range r.diffs {
		if o.old == d.old && o.new == d.new {
			n++
		}
	}
	if n < differencesMax {
		r.diffs = append(r.diffs, d)
	}
}

// convict quarantines everyone who sent bytes that differ from those that were
// found right.
func (r *repair) convict() {
	t := r.t
	slices.SortStableFunc(r.diffs, func(a, b difference) int { return cmp.Compare(a.first, b.first) })
	for _, d := range r.diffs {
		b := make([]byte, d.at.len())
		if _, err := t.ingest.ReadAt(b, d.at.start); err != nil {
			continue // the digest is right all the same; only the blame is lost
		}
		truth := sha256.Sum256(b)
		reason := fmt.Sprintf("sent wrong bytes: blob %s, first in bytes %d-%d", t.desc.Digest, d.first, d.at.end-1)
		switch {
		case d.oldD == truth:
		case d.old.past:
			t.e.event(EventMismatch, t.desc.Digest, nil, "what an earlier fetch left was wrong in bytes %d-%d", d.first, d.at.end-1)
		default:
			t.convict(d.old, reason)
		}
		if d.newD != truth {
			t.convict(d.new, reason)
		}
	}
}

// accuse says of everyone who sent any of it where it first differs from what
// others sent, when all that could be tried gave a wrong digest.
func (r *repair) accuse() {
	t := r.t
	t.mu.Lock()
	members := slices.Clone(t.members)
	t.mu.Unlock()
	for _, m := range members {
		diff := r.firstAgainst(m.src)
		if m.src.isQuarantined() {
			m.src.amend(diff)
			continue
		}
		t.mu.Lock()
		if m.last == nil && len(r.vouched[m.src]) > 0 {
			m.last = fmt.Errorf("sent bytes that could not be told from a lie%s", diff)
		}
		t.mu.Unlock()
	}
}

// forget drops from the partial what nobody but liars vouches for: all of it,
// where only they sent any.
func (r *repair) forget() error {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	var kept spans
	liars, others := 0, 0
	for _, m := range t.members {
		switch v := r.vouched[m.src]; {
		case m.lied:
			liars++
		case len(v) > 0:
			others++
			kept = kept.union(v)
		}
	}
	if liars == 0 {
		return nil
	}
	for src, v := range r.vouched {
		if src.past && others > 0 {
			kept = kept.union(v)
		}
	}
	for _, s := range (spans{{0, t.size}}).minus(kept) {
		if err := t.ingest.Forget(s.start, s.len()); err != nil {
			return err
		}
		t.have.clear(s.start, s.end)
	}
	return nil
}

// firstAgainst describes the first range in which src differs from another.
func (r *repair) firstAgainst(src *source) string {
	best := difference{first: -1}
	for _, d := range r.diffs {
		if (d.old == src || d.new == src) && (best.first < 0 || d.first < best.first) {
			best = d
		}
	}
	if best.first < 0 {
		return ""
	}
	other := best.old
	if other == src {
		other = best.new
	}
	name := other.key
	if other.past {
		name = "what an earlier fetch left"
	}
	return fmt.Sprintf("; it first differs from %s in bytes %d-%d", name, best.first, best.at.end-1)
}
