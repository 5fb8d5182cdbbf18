package bittorrent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/waybill-project/waybill/transport/netclass"
)

// Local service discovery, BEP 14, over IPv4.
const (
	// lsdInterval is how often a torrent is announced.
	lsdInterval = 5 * time.Minute
	// maxDatagram is the largest announcement that is read, in bytes, and
	// maxAnnounced how many torrents are taken from it.
	maxDatagram  = 1400
	maxAnnounced = 10
)

var lsdGroup = net.UDPAddr{IP: net.IPv4(239, 192, 152, 143), Port: 6771}

// lsd announces torrents on the local network and hears of those of others.
type lsd struct {
	node       *node
	conn       *net.UDPConn // hears
	sender     *net.UDPConn // from the address that peers are to connect to
	multicast  *ipv4.PacketConn
	interfaces []net.Interface
	cookie     string // by which this peer knows its own announcements

	sending sync.Mutex // the interface is set on the socket

	mu     sync.Mutex
	swarms map[[20]byte]*swarm

	listening sync.WaitGroup
}

// newLSD joins the multicast group.
func newLSD(n *node) (*lsd, error) {
	interfaces, err := lsdInterfaces(n.options.Interface)
	if err != nil {
		return nil, err
	}
	if len(interfaces) == 0 {
		n.options.Log.Info("no local service discovery: no network interface has multicast")
		return nil, nil
	}
	conn, err := net.ListenMulticastUDP("udp4", &interfaces[0], &lsdGroup)
	if err != nil {
		return nil, fmt.Errorf("local service discovery: %w", err)
	}
	var from net.UDPAddr
	if n.options.Listen.Is4() {
		from.IP = n.options.Listen.AsSlice()
	}
	sender, err := net.ListenUDP("udp4", &from)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("local service discovery: %w", err)
	}
	d := &lsd{
		node: n, conn: conn, sender: sender, multicast: ipv4.NewPacketConn(sender), interfaces: interfaces,
		cookie: rand.Text(), swarms: map[[20]byte]*swarm{},
	}
	for i := range interfaces[1:] {
		if err := ipv4.NewPacketConn(conn).JoinGroup(&interfaces[i+1], &lsdGroup); err != nil {
			n.options.Log.Info("no local service discovery", "interface", interfaces[i+1].Name, "error", err)
		}
	}
	// Others on this machine are peers, too.
	if err := d.multicast.SetMulticastLoopback(true); err != nil {
		conn.Close()
		sender.Close()
		return nil, fmt.Errorf("local service discovery: %w", err)
	}
	d.listening.Go(d.listen)
	return d, nil
}

// lsdInterfaces returns the interface called name, or all with multicast.
func lsdInterfaces(name string) ([]net.Interface, error) {
	if name != "" {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("local service discovery on %s: %w", name, err)
		}
		return []net.Interface{*i}, nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("local service discovery: %w", err)
	}
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		const wanted = net.FlagUp | net.FlagMulticast
		return i.Flags&wanted != wanted || i.Flags&net.FlagLoopback != 0
	}), nil
}

func (d *lsd) close() {
	d.conn.Close()
	d.sender.Close()
	d.listening.Wait()
}

// announce announces a torrent until ctx ends, and listens for it.
func (d *lsd) announce(ctx context.Context, sw *swarm) {
	d.mu.Lock()
	for _, hash := range sw.hashes {
		d.swarms[hash] = sw
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, hash := range sw.hashes {
			delete(d.swarms, hash)
		}
	}()
	tick := time.NewTicker(lsdInterval)
	defer tick.Stop()
	for {
		d.send(lsdMessage(d.node.port(), sw.hashes, d.cookie))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// send sends a message on every interface.
func (d *lsd) send(message []byte) {
	d.sending.Lock()
	defer d.sending.Unlock()
	for i := range d.interfaces {
		err := d.multicast.SetMulticastInterface(&d.interfaces[i])
		if err == nil {
			_, err = d.sender.WriteToUDP(message, &lsdGroup)
		}
		if err != nil {
			d.node.options.Log.Debug("local service discovery", "interface", d.interfaces[i].Name, "error", err)
		}
	}
}

// listen takes announcements until the socket is closed.
func (d *lsd) listen() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := d.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		port, hashes, cookie, err := parseLSD(buf[:n])
		if err != nil || cookie == d.cookie {
			continue
		}
		addr := from.Addr().Unmap()
		for _, hash := range hashes {
			d.mu.Lock()
			sw := d.swarms[hash]
			d.mu.Unlock()
			if sw != nil {
				sw.foundPeers([]netip.AddrPort{netip.AddrPortFrom(addr, port)}, netclass.Of(addr))
			}
		}
	}
}

// lsdMessage is an announcement.
func lsdMessage(port int, hashes [][20]byte, cookie string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "BT-SEARCH * HTTP/1.1\r\nHost: %s\r\nPort: %d\r\n", lsdGroup.String(), port)
	for _, hash := range hashes {
		fmt.Fprintf(&b, "Infohash: %x\r\n", hash)
	}
	fmt.Fprintf(&b, "cookie: %s\r\n\r\n\r\n", cookie)
	return b.Bytes()
}

// parseLSD reads an announcement.
func parseLSD(b []byte) (port uint16, hashes [][20]byte, cookie string, err error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	line, err := r.ReadLine()
	if err != nil || !strings.HasPrefix(line, "BT-SEARCH ") {
		return 0, nil, "", fmt.Errorf("no BT-SEARCH")
	}
	header, err := r.ReadMIMEHeader()
	if err != nil {
		return 0, nil, "", fmt.Errorf("malformed header: %w", err)
	}
	number, err := strconv.ParseUint(header.Get("Port"), 10, 16)
	if err != nil || number == 0 {
		return 0, nil, "", fmt.Errorf("port %q", header.Get("Port"))
	}
	for _, enc := range header["Infohash"] {
		hash, err := hex.DecodeString(enc)
		if err != nil || len(hash) != 20 {
			return 0, nil, "", fmt.Errorf("infohash %q", enc)
		}
		if len(hashes) < maxAnnounced {
			hashes = append(hashes, [20]byte(hash))
		}
	}
	return uint16(number), hashes, header.Get("cookie"), nil
}
