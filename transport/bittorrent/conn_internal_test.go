package bittorrent

import (
	"testing"

	pp "github.com/anacrolix/torrent/peer_protocol"
)

// FuzzExtensions decodes what peers send in messages of BEP 10 and BEP 11.
func FuzzExtensions(f *testing.F) {
	f.Add([]byte("d1:md6:ut_pexi1e11:ut_metadatai2ee13:metadata_sizei100e4:reqqi250ee"))
	f.Add([]byte("d5:added6:\x0a\x00\x00\x01\x1a\xe17:added.f1:\x006:added618:0123456789abcdef\x1a\xe1e"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if checkDepth(b) != nil {
			return
		}
		_ = unmarshal(b, new(pp.ExtendedHandshakeMessage))
		_, _ = pp.LoadPexMsg(b)
	})
}
