package fetch

import (
	"slices"
	"sort"
)

// span is the half-open byte range [start, end) of a blob.
type span struct{ start, end int64 }

func (s span) len() int64 { return s.end - s.start }

// spans is a set of bytes kept as sorted, disjoint, non-adjacent spans.
// The zero value is the empty set.
type spans []span

// search returns the index of the first span that ends after off.
func (s spans) search(off int64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].end > off })
}

// add puts [start, end) into the set.
func (s *spans) add(start, end int64) {
	if start >= end {
		return
	}
	v := *s
	// The spans that overlap or touch the new one: [i, j).
	i := sort.Search(len(v), func(k int) bool { return v[k].end >= start })
	j := i
	for j < len(v) && v[j].start <= end {
		start, end = min(start, v[j].start), max(end, v[j].end)
		j++
	}
	*s = slices.Replace(v, i, j, span{start, end})
}

// remove takes [start, end) out of the set.
func (s *spans) remove(start, end int64) {
	if start >= end {
		return
	}
	v := *s
	i := v.search(start)
	j := i
	var rest [2]span
	n := 0
	for j < len(v) && v[j].start < end {
		if v[j].start < start {
			rest[n], n = span{v[j].start, start}, n+1
		}
		if v[j].end > end {
			rest[n], n = span{end, v[j].end}, n+1
		}
		j++
	}
	*s = slices.Replace(v, i, j, rest[:n]...)
}

// within returns the parts of the set inside [start, end).
func (s spans) within(start, end int64) spans {
	var out spans
	for i := s.search(start); i < len(s) && s[i].start < end && start < end; i++ {
		out = append(out, span{max(start, s[i].start), min(end, s[i].end)})
	}
	return out
}

// overlaps reports whether any byte of [start, end) is in the set.
func (s spans) overlaps(start, end int64) bool {
	i := s.search(start)
	return i < len(s) && s[i].start < end && start < end
}

// covers reports whether all of [start, end) is in the set.
func (s spans) covers(start, end int64) bool {
	i := s.search(start)
	return start >= end || i < len(s) && s[i].start <= start && s[i].end >= end
}

// minus returns the set without the bytes of o.
func (s spans) minus(o spans) spans {
	out := slices.Clone(s)
	for _, r := range o {
		out.remove(r.start, r.end)
	}
	return out
}

// union returns the bytes of either set.
func (s spans) union(o spans) spans {
	out := slices.Clone(s)
	for _, r := range o {
		out.add(r.start, r.end)
	}
	return out
}

// size returns the number of bytes in the set.
func (s spans) size() int64 {
	var n int64
	for _, r := range s {
		n += r.len()
	}
	return n
}

// served is a range of the blob as it lies on disk, and who it came from.
type served struct {
	span
	by      *source
	resumed bool // it was on disk before this transfer began
}

// ledger says for every byte on disk who served it: sorted, disjoint entries,
// neighbours of the same origin merged.
type ledger []served

func (l ledger) search(off int64) int {
	return sort.Search(len(l), func(i int) bool { return l[i].end > off })
}

// set enters that [start, end) came from by, in place of what stood there.
func (l *ledger) set(e served) {
	if e.start >= e.end {
		return
	}
	l.clear(e.start, e.end)
	v := *l
	i := v.search(e.start)
	j := i
	if i > 0 && v[i-1].end == e.start && v[i-1].by == e.by && v[i-1].resumed == e.resumed {
		i--
		e.start = v[i].start
	}
	if j < len(v) && v[j].start == e.end && v[j].by == e.by && v[j].resumed == e.resumed {
		e.end = v[j].end
		j++
	}
	*l = slices.Replace(v, i, j, e)
}

// clear takes [start, end) out.
func (l *ledger) clear(start, end int64) {
	if start >= end {
		return
	}
	v := *l
	i := v.search(start)
	j := i
	var rest [2]served
	n := 0
	for j < len(v) && v[j].start < end {
		if v[j].start < start {
			rest[n], n = served{span{v[j].start, start}, v[j].by, v[j].resumed}, n+1
		}
		if v[j].end > end {
			rest[n], n = served{span{end, v[j].end}, v[j].by, v[j].resumed}, n+1
		}
		j++
	}
	*l = slices.Replace(v, i, j, rest[:n]...)
}
