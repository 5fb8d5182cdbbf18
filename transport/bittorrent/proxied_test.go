package bittorrent_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
)

// TestWhoATrackerMayName: a tracker in no wider a network may name a peer in this
// one, and so may any where the network is trusted. One behind a proxy is on the
// internet, wherever the proxy is.
func TestWhoATrackerMayName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		tracker string // empty: the server itself
		trusted netclass.Networks
		comes   bool
	}{
		{"on this machine", "", nil, true},
		{"behind a proxy", "http://tracker.example", nil, false},
		{"behind a proxy, in a trusted network", "http://tracker.example", netclass.Networks{netip.MustParsePrefix("127.0.0.0/8")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trap := netclasstest.NewTrap(t)
			addr := netip.MustParseAddrPort(trap.Host)
			peer := append(addr.Addr().AsSlice(), byte(addr.Port()>>8), byte(addr.Port()))
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				_, _ = io.WriteString(w, "d5:peers6:"+string(peer)+"e")
			}))
			t.Cleanup(server.Close)
			o := loopback()
			o.MetadataTimeout, o.Trusted = time.Second, tt.trusted
			tracker := server.URL
			if tt.tracker != "" {
				tracker = tt.tracker
				o.HTTP = httpclient.New(httpclient.Options{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(server.URL) }})
			}
			uri := fmt.Sprintf("magnet:?xt=urn:btih:%s&tr=%s/announce", strings.Repeat("a", 40), tracker)
			b := transporttest.NewBlob(70, 100)
			if err := pullRange(t.Context(), newTransport(t, o), uri, b, 0, b.Size); err == nil {
				t.Error("it was read from nobody")
			}
			if asked == 0 {
				t.Fatal("the tracker wasn't asked")
			}
			if came := trap.Came() > 0; came != tt.comes {
				t.Errorf("the peer was connected to: %v, want %v", came, tt.comes)
			}
		})
	}
}

// TestPublicTrustsNetworks: the same for torrents that others name.
func TestPublicTrustsNetworks(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(71, 100)
	for _, trusted := range []netclass.Networks{nil, {netip.MustParsePrefix("127.0.0.1/32")}} {
		trap := netclasstest.NewTrap(t)
		o := loopback()
		o.Public, o.MetadataTimeout, o.Trusted = true, time.Second, trusted
		tr := newTransport(t, o)
		uri := fmt.Sprintf("magnet:?xt=urn:btih:%s&x.pe=%s", strings.Repeat("b", 40), trap.Host)
		if err := pullRange(t.Context(), tr, uri, b, 0, b.Size); err == nil {
			t.Error("it was read from nobody")
		}
		if came := trap.Came() > 0; came != (trusted != nil) {
			t.Errorf("trusted %v: the peer was connected to: %v", trusted, came)
		}
	}
}
