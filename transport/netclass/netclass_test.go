package netclass_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/transport/netclass/netclasstest"
)

func TestOf(t *testing.T) {
	tests := map[string]netclass.Class{
		"127.0.0.1":                netclass.Loopback,
		"127.255.255.254":          netclass.Loopback,
		"0.0.0.0":                  netclass.Loopback,
		"0.1.2.3":                  netclass.Loopback,
		"::":                       netclass.Loopback,
		"::1":                      netclass.Loopback,
		"::ffff:127.0.0.1":         netclass.Loopback,
		"::127.0.0.1":              netclass.Loopback,
		"::ffff:0:127.0.0.1":       netclass.Loopback,
		"64:ff9b::127.0.0.1":       netclass.Loopback,
		"2002:7f00:1::1":           netclass.Loopback,
		"2001:0:0:0:0:0:80ff:fffe": netclass.Loopback, // Teredo of 127.0.0.1
		"224.0.0.1":                netclass.Loopback,
		"ff02::1":                  netclass.Loopback,
		"255.255.255.255":          netclass.Loopback,
		"240.0.0.1":                netclass.Loopback,
		"169.254.169.254":          netclass.LinkLocal,
		"fe80::1%eth0":             netclass.LinkLocal,
		"::ffff:169.254.169.254":   netclass.LinkLocal,
		"64:ff9b::a9fe:a9fe":       netclass.LinkLocal,
		"64:ff9b:1::1":             netclass.LinkLocal,
		"10.1.2.3":                 netclass.Private,
		"172.16.0.1":               netclass.Private,
		"172.31.255.255":           netclass.Private,
		"192.168.1.1":              netclass.Private,
		"100.64.0.1":               netclass.Private,
		"198.18.0.1":               netclass.Private,
		"192.0.2.1":                netclass.Private,
		"fd00::1":                  netclass.Private,
		"fec0::1":                  netclass.Private,
		"::ffff:10.0.0.1":          netclass.Private,
		"64:ff9b::10.0.0.1":        netclass.Private,
		"2001:db8::1":              netclass.Private,
		"172.32.0.1":               netclass.Public,
		"8.8.8.8":                  netclass.Public,
		"::ffff:8.8.8.8":           netclass.Public,
		"64:ff9b::8.8.8.8":         netclass.Public,
		"2606:4700::1111":          netclass.Public,
		"2002:808:808::1":          netclass.Public,
	}
	for in, want := range tests {
		t.Run(in, func(t *testing.T) {
			if got := netclass.Of(netip.MustParseAddr(in)); got != want {
				t.Errorf("Of(%s) = %v, want %v", in, got, want)
			}
		})
	}
	if got := netclass.Of(netip.Addr{}); got != netclass.Loopback {
		t.Errorf("Of(zero) = %v, want loopback", got)
	}
}

func TestOfHost(t *testing.T) {
	tests := []struct {
		host  string
		class netclass.Class
		known bool
	}{
		{"localhost", netclass.Loopback, true},
		{"LOCALHOST.", netclass.Loopback, true},
		{"registry.localhost", netclass.Loopback, true},
		{"[::1]", netclass.Loopback, true},
		{"[::ffff:10.0.0.1]", netclass.Private, true},
		{"169.254.169.254", netclass.LinkLocal, true},
		{"8.8.8.8", netclass.Public, true},
		{"127.1", netclass.Loopback, true},
		{"2130706433", netclass.Loopback, true},
		{"0x7f000001", netclass.Loopback, true},
		{"0x7f.1", netclass.Loopback, true},
		{"registry.example", 0, false},
		{"notlocalhost", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			got, known := netclass.OfHost(tt.host)
			if got != tt.class || known != tt.known {
				t.Errorf("OfHost(%q) = %v, %v; want %v, %v", tt.host, got, known, tt.class, tt.known)
			}
		})
	}
}

func TestOfAddr(t *testing.T) {
	tests := []struct {
		name string
		addr net.Addr
		want netclass.Class
	}{
		{"tcp", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, netclass.Private},
		{"tcp6 zone", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "eth0"}, netclass.LinkLocal},
		{"public", &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 443}, netclass.Public},
		{"unix socket", &net.UnixAddr{Name: "/run/x", Net: "unix"}, netclass.Loopback},
		{"none", nil, netclass.Loopback},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := netclass.OfAddr(tt.addr); got != tt.want {
				t.Errorf("OfAddr(%v) = %v, want %v", tt.addr, got, tt.want)
			}
		})
	}
}

func TestDialerChecksTheDialledAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())

	netclasstest.Resolve(t, map[string]string{"loopback.example": "127.0.0.1"})
	for _, floor := range []netclass.Class{netclass.LinkLocal, netclass.Private, netclass.Public} {
		// A name, so that the check can only be on what it resolved to.
		d := netclass.Dialer{Floor: floor}
		conn, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort("loopback.example", port))
		if err == nil {
			conn.Close()
			t.Fatalf("floor %v: connected to loopback", floor)
		}
		var refused *netclass.RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("floor %v: %v, want a RefusedError", floor, err)
		}
		if refused.Class != netclass.Loopback || refused.Floor != floor {
			t.Errorf("floor %v: refused as %+v", floor, refused)
		}
	}

	var d netclass.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort("localhost", port))
	if err != nil {
		t.Fatalf("no floor: %v", err)
	}
	conn.Close()
}

// TestDialerKnowsNamesBelowLocalhost dials one that is in no DNS, as S3 servers
// of one's own need for buckets in the host's name.
func TestDialerKnowsNamesBelowLocalhost(t *testing.T) {
	netclasstest.Resolve(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"bucket.localhost", "a.b.LOCALHOST."} {
		var d netclass.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		conn.Close()
		d.Floor = netclass.Private
		var refused *netclass.RefusedError
		if _, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.As(err, &refused) {
			t.Errorf("%s for a stranger: %v, want a RefusedError", host, err)
		}
	}
	var d netclass.Dialer
	if _, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("notlocalhost", port)); err == nil {
		t.Error("notlocalhost is not this machine")
	}
}

// What a host alone tells is refused before anybody is asked what it is: which
// address a lenient notation is, or localhost, resolvers don't agree on.
func TestDialerLooksNothingUpInVain(t *testing.T) {
	d := netclass.Dialer{Floor: netclass.LinkLocal}
	d.Dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("the name was looked up")
		return nil, errors.New("no")
	}}
	for _, host := range []string{"0x7f.1", "127.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "localhost", "x.localhost."} {
		var refused *netclass.RefusedError
		if _, err := d.DialContext(t.Context(), "tcp", host+":1"); !errors.As(err, &refused) || refused.Class != netclass.Loopback {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestDialerTrustsNetworks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := netclass.Dialer{Floor: netclass.Public, Trusted: netclass.Networks{netip.MustParsePrefix("127.0.0.2/32")}}
	for host, want := range map[string]bool{"127.0.0.2": true, "::ffff:127.0.0.2": true, "127.0.0.3": false, "::1": false} {
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add(netip.MustParseAddr("64:ff9b::7f00:1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		c := netclass.Of(addr)
		if c > netclass.Public {
			t.Fatalf("Of(%v) = %v", addr, c)
		}
		if addr.Is4() {
			mapped := netip.AddrFrom16(addr.As16())
			if m := netclass.Of(mapped); m != c {
				t.Fatalf("Of(%v) = %v but mapped %v", addr, c, m)
			}
		}
		if h, known := netclass.OfHost(addr.String()); !known || h != c {
			t.Fatalf("OfHost(%v) = %v, %v; Of says %v", addr, h, known, c)
		}
	})
}

func ExampleOf() {
	for _, s := range []string{"8.8.8.8", "10.0.0.1", "64:ff9b::a9fe:a9fe"} {
		fmt.Println(s, netclass.Of(netip.MustParseAddr(s)))
	}
	// Output:
	// 8.8.8.8 public
	// 10.0.0.1 private
	// 64:ff9b::a9fe:a9fe link-local
}
