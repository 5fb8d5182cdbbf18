package fetch

import (
	"slices"

	"github.com/waybill-project/waybill/transport"
)

// chunks says how a source keeps a blob ([transport.Chunked]): cut at first, and at
// every multiple of size before and after. The zero value is that of one that sends
// any range.
type chunks struct {
	size, first int64
}

// chunksOf returns what a body says of its source.
func chunksOf(body any) chunks {
	c, ok := body.(transport.Chunked)
	if !ok {
		return chunks{}
	}
	size, first := c.Chunks()
	if size <= 0 {
		return chunks{}
	}
	return chunks{size, ((first % size) + size) % size}
}

// up returns the first cut at or after at.
func (c chunks) up(at int64) int64 {
	if c.size <= 0 {
		return at
	}
	return at + (c.size-(at-c.first)%c.size)%c.size
}

// coarser returns the one with the longer chunks.
func (c chunks) coarser(o chunks) chunks {
	if o.size > c.size {
		return o
	}
	return c
}

// Cuts between claims of sources that send any range fall on multiples of a grain,
// a power of two that is small beside the claim, for others to come that keep the
// blob in blocks.
const (
	grainMin = 64 << 10
	grainMax = 1 << 20
)

// cut returns where, at or after at, to end a claim of some n bytes of m: where its
// source's chunks end; else where those of another do, if they are small beside the
// claim. One for the end of a claim would be sent once more, for another, for its
// beginning. t.mu is held.
func (t *transfer) cut(m *member, at, n int64) int64 {
	if m.chunks.size > 0 {
		return m.chunks.up(at)
	}
	var c chunks
	for _, o := range t.members {
		if o.chunks.size <= n/4 {
			c = c.coarser(o.chunks)
		}
	}
	if c.size > 0 {
		return c.up(at)
	}
	grain := int64(grainMax)
	for grain > n/8 && grain > grainMin {
		grain /= 2
	}
	if n < 2*grain {
		return at
	}
	return chunks{size: grain}.up(at)
}

// whole returns what of el, from the i-th on or else before it, m may begin to bring:
// from where a chunk of its source begins, where there is one as a whole and others
// who send any range are there for the rest; else the i-th. Of that, what is before
// from is left out. t.mu is held.
func (t *transfer) whole(m *member, el spans, i int, from int64) span {
	first := span{max(el[i].start, from), el[i].end}
	if m.chunks.size == 0 || !slices.ContainsFunc(t.members, func(o *member) bool { return o.working && o.chunks.size == 0 }) {
		return first
	}
	for k := range el {
		r := el[(i+k)%len(el)]
		if k == 0 {
			r = first
		}
		if at := m.chunks.up(r.start); at+m.chunks.size <= r.end {
			return span{at, r.end}
		}
	}
	return first
}
