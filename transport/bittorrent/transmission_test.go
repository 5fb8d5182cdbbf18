package bittorrent_test

import (
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
)

func TestMagnet(t *testing.T) {
	s := transmission(t, realserver.TransmissionOptions{})
	b := transporttest.NewBlob(1, 20<<20+12345)
	file := seed(t, s, b, realserver.TorrentOptions{})
	pull(t, newTransport(t, loopback()), magnet(t, file, s.Peer), b)
}
