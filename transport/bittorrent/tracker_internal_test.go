package bittorrent

import (
	"fmt"
	"testing"
)

// What HTTP trackers answer, in every form there is of it.
func TestTrackerAnswer(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"compact", "d8:intervali1800e5:peers12:\x0a\x00\x00\x01\x1a\xe1\x01\x02\x03\x04\x00\x50e", "[10.0.0.1:6881 1.2.3.4:80] 30m0s"},
		{"IPv6", "d5:peers0:6:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe1e", "[[2001:db8::1]:6881] 0s"},
		{"a list", "d5:peersld2:ip7:1.2.3.47:peer id1:x4:porti6881eed2:ip3:::14:porti80eeee", "[1.2.3.4:6881 [::1]:80] 0s"},
		{"names, and no port", "d5:peersld2:ip9:localhost4:porti6881eed2:ip7:1.2.3.4eee", "[] 0s"},
		{"nobody", "de", "[] 0s"},
		{"something behind it", "de\r\n", "[] 0s"},
		{"cut off", "d5:peers7:\x0a\x00\x00\x01\x1a\xe1\x01e", "[10.0.0.1:6881] 0s"},
		{"refused", "d14:failure reason4:no\x00!e", `refused: "no\x00!"`},
		{"a list of numbers", "d5:peersli0eee", "the answer's peers are no list of addresses"},
		{"a number", "d5:peersi0ee", "the answer's peers are neither a list nor addresses"},
		{"HTML", "<html>", "the answer is no tracker's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a announcement
			got := ""
			if err := a.read([]byte(tt.body)); err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprint(a.peers, " ", a.interval)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzTrackerAnswer(f *testing.F) {
	f.Add([]byte("d8:intervali1800e5:peers6:\x0a\x00\x00\x01\x1a\xe16:peers618:0123456789abcdef\x1a\xe1e"))
	f.Add([]byte("d5:peersld2:ip9:127.0.0.14:porti6881eed2:ip1:x4:porti0eeee"))
	f.Add([]byte("d14:failure reason3:noee"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var a announcement
		err := a.read(body)
		if err != nil && len(a.peers) > 0 {
			t.Errorf("an error, and %d peers", len(a.peers))
		}
		for _, p := range a.peers {
			if !p.IsValid() || p.Port() == 0 || p.Addr().Is4In6() {
				t.Errorf("a peer at %v", p)
			}
		}
	})
}
