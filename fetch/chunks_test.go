package fetch

import (
	"io"
	"testing"
)

// chunked is a body of a source that keeps blobs in chunks.
type chunked struct{ size, first int64 }

func (k chunked) Chunks() (size, first int64) { return k.size, k.first }

func TestChunks(t *testing.T) {
	for _, tt := range []struct {
		body any
		want chunks
		up   map[int64]int64
	}{
		{io.NopCloser(nil), chunks{}, map[int64]int64{0: 0, 7: 7}},
		{chunked{0, 3}, chunks{}, map[int64]int64{7: 7}},
		{chunked{-5, 3}, chunks{}, map[int64]int64{7: 7}},
		{chunked{10, 0}, chunks{10, 0}, map[int64]int64{0: 0, 1: 10, 10: 10, 19: 20}},
		{chunked{10, 3}, chunks{10, 3}, map[int64]int64{0: 3, 3: 3, 4: 13}},
		{chunked{10, -3}, chunks{10, 7}, map[int64]int64{0: 7, 7: 7, 8: 17}},
		{chunked{10, 23}, chunks{10, 3}, map[int64]int64{0: 3, 4: 13}},
	} {
		got := chunksOf(tt.body)
		if got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.body, got, tt.want)
		}
		for at, want := range tt.up {
			if up := got.up(at); up != want {
				t.Errorf("%v: up from %d is %d, want %d", tt.body, at, up, want)
			}
		}
	}
}

func TestWhole(t *testing.T) {
	m, other := &member{chunks: chunks{10, 3}}, &member{working: true}
	tr := &transfer{members: []*member{m, other}}
	for _, tt := range []struct {
		el   spans
		i    int
		want span
	}{
		{spans{{0, 100}}, 0, span{3, 100}},
		{spans{{3, 100}}, 0, span{3, 100}},
		{spans{{4, 22}}, 0, span{4, 22}},
		{spans{{4, 22}, {30, 50}}, 0, span{33, 50}},
		{spans{{0, 20}, {24, 30}}, 1, span{3, 20}},
		{spans{{4, 12}, {24, 30}}, 1, span{24, 30}},
	} {
		if got := tr.whole(m, tt.el, tt.i, 0); got != tt.want {
			t.Errorf("%v from %d: got %v, want %v", tt.el, tt.i, got, tt.want)
		}
		if got := tr.whole(other, tt.el, tt.i, 0); got != tt.el[tt.i] {
			t.Errorf("%v from %d: who sends any range gets %v", tt.el, tt.i, got)
		}
	}
	if got := tr.whole(m, spans{{0, 100}}, 0, 14); got != (span{23, 100}) {
		t.Errorf("from 14: got %v", got)
	}
	tr.members = tr.members[:1]
	if got := tr.whole(m, spans{{0, 100}}, 0, 0); got != (span{0, 100}) {
		t.Errorf("with nobody else: got %v", got)
	}
}
