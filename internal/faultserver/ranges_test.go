package faultserver

import (
	"fmt"
	"testing"
)

func FuzzParseRange(f *testing.F) {
	for _, header := range []string{"", "bytes=0-0", "bytes=5-", "bytes=-5", "bytes=9-3", "bytes= 1-2 ", "bytes=99999999999999999999-", "bytes=0-1,3-4", "x=1-2", "bytes=--1"} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		got, outcome := parseRange(header, size)
		switch outcome {
		case rangeIgnored:
			if got != (span{0, size}) {
				t.Errorf("ignored, but selects %+v of %d", got, size)
			}
		case rangeSatisfiable:
			if got.offset < 0 || got.length < 1 || got.offset > size-got.length {
				t.Errorf("%q selects %+v of %d", header, got, size)
			}
			again := fmt.Sprintf("bytes=%d-%d", got.offset, got.offset+got.length-1)
			if back, _ := parseRange(again, size); back != got {
				t.Errorf("%q selects %+v, which reads back as %+v", header, got, back)
			}
		}
	})
}
