package bittorrent_test

import (
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
)

// TestTransmission reads from transmission, which lets a new peer wait for up
// to ten seconds, before and after it was restarted.
func TestTransmission(t *testing.T) {
	t.Parallel() // it mostly waits
	s := transmission(t, realserver.TransmissionOptions{Host: "127.0.0.12"})
	first, second := transporttest.NewBlob(1, 5<<20+12345), transporttest.NewBlob(2, 3<<20)
	tr := newTransport(t, loopback())
	uri := magnet(t, seed(t, s, first, realserver.TorrentOptions{}), s.Peer)
	pull(t, tr, uri, first)
	other := magnet(t, seed(t, s, second, realserver.TorrentOptions{}), s.Peer)
	s.Stop()
	restart(t, s)
	pull(t, tr, other, second)
	pull(t, tr, uri, first)
}
