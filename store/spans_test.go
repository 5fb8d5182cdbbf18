package store

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// paint is the plainest set of spans: what each byte is.
type paint []span

func (p paint) set(n span) {
	for at := n.off; at < n.end; at++ {
		p[at] = span{at, at + 1, n.source, n.state}
	}
}

func (p paint) cut(off, end int64) {
	for at := off; at < end; at++ {
		p[at] = span{}
	}
}

// spans returns what is painted, with as few spans as can be.
func (p paint) spans() spans {
	var list spans
	for at, sp := range p {
		n := len(list)
		switch {
		case sp.end == 0:
		case n > 0 && list[n-1].end == int64(at) && list[n-1].like(sp):
			list[n-1].end++
		default:
			list = append(list, sp)
		}
	}
	return list
}

func TestSpansLikePaint(t *testing.T) {
	const size = 60
	random := rand.New(rand.NewPCG(1, 2))
	var s spans
	p := make(paint, size)
	for step := range 20_000 {
		off := random.Int64N(size)
		end := off + random.Int64N(size-off) + 1
		switch random.IntN(4) {
		case 0:
			s.cut(off, end)
			p.cut(off, end)
		case 1:
			from, to := durability(random.IntN(2)), durability(1+random.IntN(2))
			s.promote(from, to)
			for i := range p {
				if p[i].end > 0 && p[i].state == from {
					p[i].state = to
				}
			}
		default:
			n := span{off, end, uint16(random.IntN(3)), durability(random.IntN(3))}
			s.set(n)
			p.set(n)
		}
		if want := p.spans(); !slices.Equal(s, want) {
			t.Fatalf("step %d: %v, want %v", step, s, want)
		}
	}
}

func TestShrink(t *testing.T) {
	tests := []struct {
		name string
		have spans
		most int
		want spans
	}{
		{"fits", spans{{0, 1, 1, 0}, {5, 6, 2, 0}}, 2, spans{{0, 1, 1, 0}, {5, 6, 2, 0}}},
		{"who sent it goes before what was sent", spans{{0, 10, 1, synced}, {10, 20, 2, written}, {30, 31, 1, 0}}, 2,
			spans{{0, 20, 0, written}, {30, 31, 1, 0}}},
		{"the same source stays known", spans{{0, 10, 1, synced}, {10, 20, 1, written}}, 1, spans{{0, 20, 1, written}}},
		{"small neighbours first", spans{{0, 1 << 20, 1, 0}, {1 << 20, 2 << 20, 2, 0}, {3 << 20, 3<<20 + 1, 1, 0}, {3<<20 + 1, 3<<20 + 2, 2, 0}}, 3,
			spans{{0, 1 << 20, 1, 0}, {1 << 20, 2 << 20, 2, 0}, {3 << 20, 3<<20 + 2, 0, 0}}},
		{"no more than must", spans{{0, 10, 1, 0}, {20, 30, 1, 0}, {40, 50, 1, 0}, {60, 65, 1, 0}}, 2, spans{{20, 30, 1, 0}, {40, 50, 1, 0}}},
		{"no more sources than must", spans{{0, 10, 1, 0}, {10, 20, 2, 0}, {20, 30, 1, 0}, {30, 40, 2, 0}}, 3,
			spans{{0, 20, 0, 0}, {20, 30, 1, 0}, {30, 40, 2, 0}}},
		{"the smallest go", spans{{0, 1, 1, 0}, {5, 500, 2, 0}, {600, 602, 2, 0}}, 1, spans{{5, 500, 2, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.Clone(tt.have)
			got.shrink(tt.most)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
