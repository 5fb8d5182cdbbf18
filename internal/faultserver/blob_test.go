package faultserver_test

import (
	"testing"

	"github.com/waybill-project/waybill/internal/faultserver"
)

func TestRandomSeeks(t *testing.T) {
	whole := make([]byte, 4096)
	faultserver.Random(7).ReadAt(whole, 0)
	for _, test := range []struct{ offset, length int }{{0, 0}, {0, 1}, {1, 1}, {3, 5}, {7, 9}, {8, 8}, {13, 1000}, {4095, 1}} {
		part := make([]byte, test.length)
		faultserver.Random(7).ReadAt(part, int64(test.offset))
		if string(part) != string(whole[test.offset:test.offset+test.length]) {
			t.Errorf("%d bytes at %d differ from those of one read", test.length, test.offset)
		}
	}
	if _, err := faultserver.Random(7).ReadAt(whole, -1); err == nil {
		t.Error("a negative offset was read")
	}
}

func BenchmarkRandom(b *testing.B) {
	const size = 256 << 10
	p := make([]byte, size)
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		faultserver.Random(1).ReadAt(p, int64(i)*size)
	}
}
