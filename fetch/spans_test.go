package fetch

import (
	"slices"
	"testing"
	"time"
)

// The naive models: a bool, or an owner, for each byte.
const modelSize = 64

type (
	naiveSet    [modelSize]bool
	naiveLedger [modelSize]served // only by and resumed count
)

func (n *naiveSet) spans() spans {
	var out spans
	for i, in := range n {
		if !in {
			continue
		}
		if k := len(out); k > 0 && out[k-1].end == int64(i) {
			out[k-1].end++
		} else {
			out = append(out, span{int64(i), int64(i) + 1})
		}
	}
	return out
}

func (n *naiveLedger) ledger() ledger {
	var out ledger
	for i, e := range n {
		if e.by == nil {
			continue
		}
		if k := len(out); k > 0 && out[k-1].end == int64(i) && out[k-1].by == e.by && out[k-1].resumed == e.resumed {
			out[k-1].end++
		} else {
			out = append(out, served{span{int64(i), int64(i) + 1}, e.by, e.resumed})
		}
	}
	return out
}

// FuzzSpans applies the operations its input spells to a set, to a ledger, and to
// their naive models.
func FuzzSpans(f *testing.F) {
	f.Add([]byte{0, 10, 20, 0, 20, 30, 1, 15, 25, 2, 0, 64})
	f.Add([]byte{0, 0, 64, 1, 0, 1, 1, 63, 64, 1, 30, 31, 0, 30, 31})
	f.Add([]byte{4, 0, 9, 8, 9, 20, 5, 5, 12, 3, 7, 8})
	f.Fuzz(func(t *testing.T, ops []byte) {
		sources := []*source{{key: "a"}, {key: "b"}}
		var set spans
		var naive naiveSet
		var owners ledger
		var naiveOwners naiveLedger
		for ; len(ops) >= 3; ops = ops[3:] {
			start, end := int64(ops[1]%(modelSize+1)), int64(ops[2]%(modelSize+1))
			by, resumed := sources[ops[0]>>2&1], ops[0]>>3&1 == 1
			was, wasOwners := naive.spans(), naiveOwners.ledger()
			switch ops[0] % 4 {
			case 0, 2:
				set.add(start, end)
				owners.set(served{span{start, end}, by, resumed})
				for i := start; i < end; i++ {
					naive[i] = true
					naiveOwners[i] = served{by: by, resumed: resumed}
				}
			default:
				set.remove(start, end)
				owners.clear(start, end)
				for i := start; i < end; i++ {
					naive[i] = false
					naiveOwners[i] = served{}
				}
			}
			if want := naive.spans(); !slices.Equal(set, want) {
				t.Fatalf("%v after %d [%d,%d) is %v, want %v", was, ops[0]%4, start, end, set, want)
			}
			if want := naiveOwners.ledger(); !slices.Equal(owners, want) {
				t.Fatalf("%v after %d [%d,%d) is %v, want %v", wasOwners, ops[0]%4, start, end, owners, want)
			}
			checkQueries(t, set, &naive, start, end)
		}
	})
}

func checkQueries(t *testing.T, set spans, naive *naiveSet, start, end int64) {
	t.Helper()
	var inside, outside, other naiveSet
	n, size := 0, int64(0)
	for i := range naive {
		in := int64(i) >= start && int64(i) < end
		other[i] = in
		inside[i] = in && naive[i]
		outside[i] = naive[i] && !in
		if inside[i] {
			n++
		}
		if naive[i] {
			size++
		}
	}
	if got := set.within(start, end); !slices.Equal(got, inside.spans()) {
		t.Fatalf("%v within [%d,%d) is %v", set, start, end, got)
	}
	if got := set.minus(other.spans()); !slices.Equal(got, outside.spans()) {
		t.Fatalf("%v minus [%d,%d) is %v", set, start, end, got)
	}
	for i := range other {
		other[i] = other[i] || naive[i]
	}
	var alone spans
	alone.add(start, end)
	if got := set.union(alone); !slices.Equal(got, other.spans()) {
		t.Fatalf("%v with [%d,%d) is %v", set, start, end, got)
	}
	if got := set.size(); got != size {
		t.Fatalf("%v has size %d", set, got)
	}
	if got := set.overlaps(start, end); got != (n > 0) {
		t.Fatalf("%v overlaps [%d,%d): %v", set, start, end, got)
	}
	if got := set.covers(start, end); got != (start >= end || int64(n) == end-start) {
		t.Fatalf("%v covers [%d,%d): %v", set, start, end, got)
	}
}

func TestMeter(t *testing.T) {
	base := time.Unix(1000, 0)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	for name, test := range map[string]struct {
		adds [][2]int // milliseconds, bytes
		at   int
		want float64
	}{
		"nothing yet":             {nil, 500, 0},
		"only the present slot":   {[][2]int{{0, 1000}}, 50, 10_000},
		"the present is left out": {[][2]int{{0, 1000}, {100, 5000}}, 150, 10_000},
		"steady":                  {[][2]int{{0, 100}, {100, 100}, {200, 100}, {300, 100}}, 400, 1000},
		"a full window":           {[][2]int{{0, 900}, {100, 100}, {200, 100}, {900, 100}}, 1000, 300 / 0.9},
		"an old burst is over":    {[][2]int{{0, 1 << 30}}, 1000, 0},
		"long idle":               {[][2]int{{0, 1 << 30}, {3_600_000, 90}}, 3_600_100, 100},
		"time stands still":       {[][2]int{{200, 500}, {100, 500}}, 200, 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			var m meter
			for _, a := range test.adds {
				m.add(int64(a[1]), at(a[0]))
			}
			if got := m.rate(at(test.at)); got < test.want*0.999 || got > test.want*1.001 {
				t.Errorf("rate is %v, want %v", got, test.want)
			}
		})
	}
}
