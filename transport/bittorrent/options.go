package bittorrent

import (
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// Defaults of [Options].
const (
	DefaultMemory          = 64 << 20
	DefaultMetadataTimeout = 18 * time.Second
	DefaultStallTimeout    = 15 * time.Second
	DefaultIdle            = time.Minute
)

// Options configures a [Transport]. The zero value finds peers by every means
// there is and uploads nothing.
type Options struct {
	// Memory is how many bytes of pieces are kept, over all torrents; zero
	// means DefaultMemory. A torrent with larger pieces is refused.
	Memory int64
	// MetadataTimeout is how long Open waits for a magnet's metadata; zero
	// means DefaultMetadataTimeout.
	MetadataTimeout time.Duration
	// StallTimeout is how long Open, once the metadata are known, and a Read
	// wait while nobody in the swarm sends anything; zero means DefaultStallTimeout.
	StallTimeout time.Duration
	// Idle is how long a torrent stays joined when nobody reads it; zero means
	// DefaultIdle.
	Idle time.Duration

	// Seed makes [Transport.Seed] possible: without it no byte of content is
	// ever uploaded.
	Seed bool
	// Content opens the content of the blob d, which is size bytes, to seed
	// it from; false where there is none.
	Content func(d digest.Digest) (content Content, size int64, ok bool)
	// MaxDownload and MaxUpload are in bytes per second over everything; zero
	// means no limit.
	MaxDownload, MaxUpload int64

	// Listen is the address that peers reach this one at; the zero value is
	// every address of this machine. Connections to peers come from it too.
	Listen netip.Addr
	// ListenPort is the TCP port, and with the DHT the UDP port, of it; zero
	// means any free one.
	ListenPort int
	// Interface is the name of the network interface that local service
	// discovery uses; empty means every one that can.
	Interface string

	// NoTrackers, NoDHT, NoPEX and NoLSD turn off one way to find
	// bytes each. A private torrent (BEP 27) is looked for with trackers and
	// the peers its URI names only, whatever they say.
	NoTrackers, NoDHT, NoPEX, NoLSD bool
	// DHTBootstrap are the HOST:PORT of nodes of the DHT to begin with; nil
	// means the public ones.
	DHTBootstrap []string

	// AllowPeer reports whether a connection to a peer may be made. Nil means:
	// to a public address always; to one in a narrower network (private,
	// link-local, loopback) only if the URI, local service discovery, or a
	// tracker, peer or DHT node in no wider a network named it. So the internet
	// can't make this program connect to the local network.
	AllowPeer func(peer netip.AddrPort) bool

	// Public is for torrents that documents of other people's name: peers,
	// trackers and web seeds are asked at public addresses only, whoever names
	// them; there is no local service discovery, and scheme torrent, which
	// means files of this machine, is [transport.ErrRefused].
	Public bool
	// Trusted are networks in which peers and trackers may be whoever names
	// them, for all that Public and AllowPeer's default say. HTTP has its own.
	Trusted netclass.Networks

	// HTTP makes the requests to HTTP trackers and web seeds. Nil means that
	// there are no web seeds, and that trackers are asked with a client of the
	// zero [httpclient.Options].
	HTTP *httpclient.Client
	// Log is told, at its debug level, what becomes of peers, and at its info
	// level which were banned. Nil means nobody is.
	Log *slog.Logger
}

// Content is what [Options].Content opens.
type Content interface {
	io.ReaderAt
	io.Closer
}

// withDefaults returns o with its zero values replaced.
func (o Options) withDefaults() Options {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.MetadataTimeout == 0 {
		o.MetadataTimeout = DefaultMetadataTimeout
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = DefaultStallTimeout
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
