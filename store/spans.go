package store

import (
	"math"
	"slices"
	"sort"
)

// durability is how safe the bytes of a span are.
type durability uint8

const (
	// written: they survive the death of the process.
	written durability = iota
	// syncing: written before the fdatasync that is under way.
	syncing
	// synced: they survive a power loss.
	synced
)

// span is a range of a blob that is held.
type span struct {
	off, end int64
	source   uint16 // index into the journal's sources; 0 is unknown
	state    durability
}

// spans are the ranges of a blob that are held: sorted, disjoint, and as few as
// can be.
type spans []span

// find returns the index of the first span that ends after off.
func (s spans) find(off int64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].end > off })
}

// cut removes [off,end).
func (s *spans) cut(off, end int64) {
	i := s.find(off)
	j := i
	var rest [2]span
	n := 0
	for ; j < len(*s) && (*s)[j].off < end; j++ {
		if old := (*s)[j]; old.off < off {
			left := old
			left.end = off
			rest[n], n = left, n+1
		}
		if old := (*s)[j]; old.end > end {
			right := old
			right.off = end
			rest[n], n = right, n+1
		}
	}
	if j > i {
		*s = slices.Replace(*s, i, j, rest[:n]...)
	}
}

// set records that [off,end) is held, in place of what was recorded for it.
func (s *spans) set(n span) {
	s.cut(n.off, n.end)
	i := s.find(n.off)
	from, to := i, i
	if i > 0 && (*s)[i-1].end == n.off && (*s)[i-1].like(n) {
		n.off = (*s)[i-1].off
		from--
	}
	if i < len(*s) && (*s)[i].off == n.end && (*s)[i].like(n) {
		n.end = (*s)[i].end
		to++
	}
	*s = slices.Replace(*s, from, to, n)
}

func (a span) like(b span) bool { return a.source == b.source && a.state == b.state }

// promote raises the spans in state from to state to.
func (s *spans) promote(from, to durability) {
	for i := range *s {
		if (*s)[i].state == from {
			(*s)[i].state = to
		}
	}
	s.merge(span.like)
}

// merge joins neighbours that touch and are like each other.
func (s *spans) merge(like func(a, b span) bool) {
	kept := (*s)[:0]
	for _, next := range *s {
		if n := len(kept); n > 0 && kept[n-1].end == next.off && like(kept[n-1], next) {
			kept[n-1].end = next.end
			continue
		}
		kept = append(kept, next)
	}
	*s = kept
}

// bytes returns how many bytes are held.
func (s spans) bytes() int64 {
	var n int64
	for _, sp := range s {
		n += sp.end - sp.off
	}
	return n
}

// shrink makes s at most most spans, giving up as little as it can: first who
// sent the smallest of those that touch, then the smallest themselves. Either
// only costs work later, a search for a liar or a range fetched again.
func (s *spans) shrink(most int) {
	for least := int64(4 << 10); len(*s) > most && least < math.MaxInt64/2; least *= 2 {
		s.forgetSources(least, len(*s)-most)
	}
	if len(*s) > most {
		s.dropSmallest(len(*s) - most)
	}
}

// forgetSources joins up to count spans with the one before, where they touch
// and one of the two is shorter than least.
func (s *spans) forgetSources(least int64, count int) {
	kept := (*s)[:0]
	for _, next := range *s {
		if n := len(kept); n > 0 && count > 0 && kept[n-1].end == next.off {
			last := &kept[n-1]
			if last.end-last.off < least || next.end-next.off < least {
				if last.source != next.source {
					last.source = 0
				}
				last.end, last.state = next.end, min(last.state, next.state)
				count--
				continue
			}
		}
		kept = append(kept, next)
	}
	*s = kept
}

// dropSmallest removes the count shortest spans.
func (s *spans) dropSmallest(count int) {
	lengths := make([]int64, len(*s))
	for i, sp := range *s {
		lengths[i] = sp.end - sp.off
	}
	slices.Sort(lengths)
	least := lengths[count] // the shortest that stays
	// Of those as short as it, some may go.
	first, _ := slices.BinarySearch(lengths[:count], least)
	equals := count - first
	*s = slices.DeleteFunc(*s, func(sp span) bool {
		if sp.end-sp.off == least && equals > 0 {
			equals--
			return true
		}
		return sp.end-sp.off < least
	})
}
