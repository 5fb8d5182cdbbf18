package bittorrent_test

import (
	"io"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/bittorrent"
)

// TestFetchingAhead reads ranges in several orders and looks at how much came
// that was not read.
func TestFetchingAhead(t *testing.T) {
	t.Parallel()
	const size, length = 96 << 20, 2 << 20
	b := transporttest.NewBlob(31, size)
	s := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.13"})
	uri := magnet(t, seed(t, s, b, realserver.TorrentOptions{PieceSize: 1 << 10}), s.Peer)
	for _, c := range []struct {
		name      string
		step      int64 // between the ranges' begins
		n         int
		downloads int64 // at most
	}{
		// Each byte once, and no more after the last than may be ahead of it.
		{"one after the other", length, size / length, size},
		// Nothing is fetched that is not asked for.
		{"scattered", 3 * length, 16, 16 * length},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTransport(t, loopback())
			inTurn(t, tr, uri, b, c.step, c.n, length)
			st := tr.Stats()
			t.Logf("%+v", st)
			if st.Downloaded+st.Wasted > c.downloads {
				t.Errorf("%d bytes downloaded, of them %d in vain, for %d read; want %d at most", st.Downloaded+st.Wasted, st.Wasted, int64(c.n)*length, c.downloads)
			}
		})
	}
}

// inTurn reads n ranges, opening each before the one before is closed.
func inTurn(t *testing.T, tr *bittorrent.Transport, uri string, b transporttest.Blob, step int64, n int, length int64) {
	t.Helper()
	var before io.Closer
	for i := range int64(n) {
		r, err := tr.Open(t.Context(), route(uri), b.Descriptor(), i*step, length)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil {
			before.Close()
		}
		before = r
		if got, err := io.Copy(io.Discard, r); err != nil || got != length {
			t.Fatalf("range %d: %d bytes, %v", i, got, err)
		}
	}
	before.Close()
}
