// Package netclasstest has the places that nobody else may send this machine
// to, for the tests of whatever dials on a stranger's word: literals of every
// narrow class and form, and names whose DNS answers with them. A [Trap] stands
// where they lead to and counts who comes.
package netclasstest

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// names are what [Hosts] has besides literals, and what DNS says of them.
var names = map[string]string{
	"loopback.example":    "127.0.0.1",
	"metadata.example":    "169.254.169.254",
	"private.example":     "10.0.0.1",
	"nat64.example":       "64:ff9b::a00:1",
	"unspecified.example": "0.0.0.0",
}

// Host is a place nobody else may name.
type Host struct {
	// Name says what it is.
	Name string
	// Host is HOST:PORT as in a URI.
	Host string
}

// Hosts returns the places. port is that of a [Trap], which the ones on this
// machine lead to. For the time of t names are resolved by [Resolve].
func Hosts(t testing.TB, port string) []Host {
	t.Helper()
	hosts := []Host{
		{"loopback", "127.0.0.1:" + port},
		{"loopback, another of its addresses", "127.1.2.3:" + port},
		{"loopback by its name", "localhost:" + port},
		{"loopback in a lenient notation", "0x7f.1:" + port},
		{"loopback, IPv6", "[::1]:" + port},
		{"loopback, mapped", "[::ffff:127.0.0.1]:" + port},
		{"unspecified", "0.0.0.0:" + port},
		{"metadata service", "169.254.169.254:" + port},
		{"private", "10.0.0.1:" + port},
		{"private, mapped", "[::ffff:10.0.0.1]:" + port},
		{"private, NAT64", "[64:ff9b::a00:1]:" + port},
	}
	for name, addr := range names {
		hosts = append(hosts, Host{"name of " + addr, name + ":" + port})
	}
	Resolve(t, names)
	return hosts
}

// Trap is a listener on loopback that nobody should come to.
type Trap struct {
	// Host is its HOST:PORT, Port the latter.
	Host, Port string
	came       atomic.Int32
}

// NewTrap starts one for the time of t.
func NewTrap(t testing.TB) *Trap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	trap := &Trap{Host: l.Addr().String(), Port: strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			trap.came.Add(1)
			conn.Close()
		}
	}()
	return trap
}

// Came returns how many connections were made to the trap.
func (t *Trap) Came() int { return int(t.came.Load()) }

// Resolve has names resolve as told for the time of t, for the whole program,
// and all others not at all. A test that uses it can't be parallel.
func Resolve(t testing.TB, addresses map[string]string) {
	t.Helper()
	server := ServeNames(t, "127.0.0.1:0", addresses)
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
}

// ServeNames is a DNS server for the time of t, which knows those names and no
// others. It listens for UDP at an address, and returns which that is in the
// end.
func ServeNames(t testing.TB, listen string, addresses map[string]string) string {
	t.Helper()
	server, err := net.ListenPacket("udp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if reply, err := answer(m, addresses); err == nil {
				_, _ = server.WriteTo(reply, from) // who asked will ask again
			}
		}
	}()
	return server.LocalAddr().String()
}

// answer returns the reply to a query (RFC 1035 §4).
func answer(query dnsmessage.Message, addresses map[string]string) ([]byte, error) {
	q := query.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError},
		Questions: query.Questions,
	}
	text, known := addresses[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
	if known {
		reply.RCode = dnsmessage.RCodeSuccess
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}}}
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
		}
	}
	return reply.Pack()
}
