package bittorrent_test

import (
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
)

// TestTransmission reads from transmission, which lets a new peer wait for up
// to ten seconds, before and after it was killed and started again.
func TestTransmission(t *testing.T) {
	t.Parallel() // it mostly waits
	s := transmission(t, realserver.TransmissionOptions{Host: "127.0.0.12"})
	b := transporttest.NewBlob(1, 5<<20+12345)
	uri := magnet(t, seed(t, s, b, realserver.TorrentOptions{}), s.Peer)
	pull(t, newTransport(t, loopback()), uri, b)
	s.Stop()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	pull(t, newTransport(t, loopback()), uri, b)
}
