package bittorrent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/tracker"
	"github.com/anacrolix/torrent/tracker/udp"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// announceTimeout is how long a tracker may take to answer.
	announceTimeout = 15 * time.Second
	// stoppedTimeout is the same for the farewell, which nothing depends on.
	stoppedTimeout = time.Second
	// minInterval and maxInterval bound what trackers ask for, retryInterval
	// is when one that failed, or knew of no peer while nobody else did, is
	// asked again, doubled each time.
	minInterval, maxInterval = time.Minute, time.Hour
	retryInterval            = 5 * time.Second
	// maxAnswer is the largest answer of an HTTP tracker that is read, in
	// bytes.
	maxAnswer = 1 << 20
	// wantedPeers is how many peers a tracker is asked for.
	wantedPeers = 100
)

// announcement is what a tracker answered: peers, when to ask again, and how
// wide a network the tracker is in.
type announcement struct {
	peers    []netip.AddrPort
	interval time.Duration
	class    netclass.Class
}

// track announces the torrent to a tracker (BEP 3, BEP 15) until ctx ends, and
// then that it is left.
func (sw *swarm) track(ctx context.Context, trackerURL string) {
	retry := retryInterval
	event := tracker.Started
	for ctx.Err() == nil {
		wait := retry
		answer, err := sw.announce(ctx, trackerURL, event)
		if ctx.Err() != nil {
			break
		}
		sw.found.tracker(trackerURL, err)
		if err == nil {
			sw.foundPeers(answer.peers, answer.class)
			event = tracker.None
			wait = min(max(answer.interval, minInterval), maxInterval)
		} else {
			sw.node.options.Log.Debug("tracker", "url", transport.Redact(trackerURL), "error", err)
		}
		if err != nil || sw.lonely() {
			wait, retry = retry, min(2*retry, maxInterval)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	if event == tracker.None { // it knows of this peer
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), stoppedTimeout)
		defer cancel()
		_, _ = sw.announce(farewell, trackerURL, tracker.Stopped) // it forgets peers anyway
	}
}

// announce asks a tracker once for each infohash.
func (sw *swarm) announce(ctx context.Context, trackerURL string, event tracker.AnnounceEvent) (all announcement, err error) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	u, err := url.Parse(trackerURL)
	if err != nil {
		return all, errors.New("malformed URL")
	}
	for _, hash := range sw.hashes {
		r := sw.announceRequest(hash, event)
		var one announcement
		switch u.Scheme {
		case "http", "https":
			one, err = sw.node.announceHTTP(ctx, trackerURL, r)
		case "udp":
			one, err = sw.node.announceUDP(ctx, u, r)
		default:
			return all, fmt.Errorf("trackers of scheme %q are not supported; http, https and udp are", u.Scheme)
		}
		if err != nil {
			return all, err
		}
		all.peers = append(all.peers, one.peers...)
		all.interval, all.class = one.interval, one.class
	}
	return all, nil
}

func (sw *swarm) announceRequest(hash [20]byte, event tracker.AnnounceEvent) tracker.AnnounceRequest {
	r := tracker.AnnounceRequest{
		InfoHash: hash,
		PeerId:   sw.node.id,
		Left:     math.MaxInt64,
		Event:    event,
		Key:      sw.node.key,
		NumWant:  wantedPeers,
		Port:     uint16(sw.node.port()),
	}
	if sw.known() {
		r.Left = sw.bytesLeft()
	}
	if event == tracker.Stopped {
		r.NumWant = 0
	}
	return r
}

// announceUDP asks a UDP tracker (BEP 15).
func (n *node) announceUDP(ctx context.Context, u *url.URL, r tracker.AnnounceRequest) (a announcement, err error) {
	// One address is chosen here, so that which network it is in is known.
	addr, err := resolveUDP(ctx, u.Host)
	if err != nil {
		return a, err
	}
	if class := netclass.Of(addr.Addr()); class < n.peers.floor() && !n.options.Trusted.Contain(addr.Addr()) {
		return a, fmt.Errorf("refused: %s is a %s address", addr, class)
	}
	network := "udp4"
	if addr.Addr().Is6() {
		network = "udp6"
	}
	client, err := udp.NewConnClient(udp.NewConnClientOpts{
		Network: network, Host: addr.String(), Logger: n.options.Log,
		ListenPacket: func(network, _ string) (net.PacketConn, error) {
			local := ":0"
			if n.options.Listen.IsValid() {
				local = net.JoinHostPort(n.options.Listen.String(), "0")
			}
			return net.ListenPacket(network, local)
		},
	})
	if err != nil {
		return a, err
	}
	defer client.Close()
	header, peers, err := client.Announce(ctx, r, udp.Options{RequestUri: u.RequestURI()})
	if err != nil {
		return a, timedOut(ctx, err)
	}
	a.interval = time.Duration(header.Interval) * time.Second
	a.class = netclass.Of(addr.Addr())
	for _, p := range peers.NodeAddrs() {
		if peer, ok := addrPort(p.IP, p.Port); ok {
			a.peers = append(a.peers, peer)
		}
	}
	return a, nil
}

// timedOut says in words that a deadline has passed.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", announceTimeout)
	}
	return err
}

func resolveUDP(ctx context.Context, hostport string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q", port)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(number)), nil
}

// announceHTTP asks an HTTP tracker (BEP 3, BEP 7, BEP 23).
func (n *node) announceHTTP(ctx context.Context, trackerURL string, r tracker.AnnounceRequest) (a announcement, err error) {
	u, err := webURL(trackerURL)
	if err != nil {
		return a, err
	}
	u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+announceQuery(r), "&")
	resp, err := n.http.Do(ctx, &httpclient.Request{URL: u.String(), Floor: n.peers.floor()})
	if err != nil {
		var te *transport.Error
		if errors.As(err, &te) && te.Err != nil {
			err = te.Err // who reports it says which tracker
		}
		return a, timedOut(ctx, err)
	}
	defer resp.Body.Close()
	a.class = resp.Class
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return a, timedOut(ctx, err)
	}
	if len(body) > maxAnswer {
		return a, fmt.Errorf("answered more than the limit of %d bytes", maxAnswer)
	}
	if err := checkDepth(body); err != nil {
		return a, err
	}
	err = a.read(body)
	return a, err
}

// announceQuery is the query of BEP 3. Its binary values are escaped byte by
// byte, a space as %20.
func announceQuery(r tracker.AnnounceRequest) string {
	q := url.Values{
		"info_hash":  {string(r.InfoHash[:])},
		"peer_id":    {string(r.PeerId[:])},
		"port":       {strconv.Itoa(int(r.Port))},
		"uploaded":   {strconv.FormatInt(r.Uploaded, 10)},
		"downloaded": {strconv.FormatInt(r.Downloaded, 10)},
		"left":       {strconv.FormatInt(r.Left, 10)},
		"numwant":    {strconv.Itoa(int(r.NumWant))},
		"key":        {strconv.FormatUint(uint64(uint32(r.Key)), 16)},
		"compact":    {"1"},
	}
	if r.Event != tracker.None {
		q.Set("event", r.Event.String())
	}
	return strings.ReplaceAll(q.Encode(), "+", "%20")
}

// httpAnswer is an HTTP tracker's answer (BEP 3). The library's own type for it
// panics at lists of anything but dictionaries.
type httpAnswer struct {
	FailureReason string        `bencode:"failure reason"`
	Interval      int32         `bencode:"interval"`
	Peers         bencode.Bytes `bencode:"peers"`  // a list, or compact (BEP 23)
	Peers6        []byte        `bencode:"peers6"` // compact (BEP 7)
}

// read takes an HTTP tracker's answer.
func (a *announcement) read(body []byte) error {
	var answer httpAnswer
	if unmarshal(body, &answer) != nil {
		return errors.New("the answer is no tracker's")
	}
	if answer.FailureReason != "" {
		return fmt.Errorf("refused: %.200q", answer.FailureReason)
	}
	a.interval = time.Duration(answer.Interval) * time.Second
	var compact []byte
	var list []struct {
		IP   string `bencode:"ip"`
		Port int    `bencode:"port"`
	}
	switch {
	case len(answer.Peers) == 0:
	case answer.Peers[0] == 'l':
		if bencode.Unmarshal(answer.Peers, &list) != nil {
			return errors.New("the answer's peers are no list of addresses")
		}
	case bencode.Unmarshal(answer.Peers, &compact) != nil:
		return errors.New("the answer's peers are neither a list nor addresses")
	}
	for _, p := range list {
		if addr, err := netip.ParseAddr(p.IP); err == nil {
			a.add(addr.WithZone("").AsSlice(), p.Port)
		}
	}
	a.addCompact(compact, 4)
	a.addCompact(answer.Peers6, 16)
	return nil
}

// addCompact adds peers written one behind the other, an address of so many
// bytes and a port each.
func (a *announcement) addCompact(b []byte, size int) {
	for ; len(b) >= size+2; b = b[size+2:] {
		a.add(b[:size], int(binary.BigEndian.Uint16(b[size:])))
	}
}

func (a *announcement) add(ip []byte, port int) {
	if peer, ok := addrPort(ip, port); ok {
		a.peers = append(a.peers, peer)
	}
}
