package metalink

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/webdoc"
)

const (
	// DefaultMinSize is the size of the smallest blobs whose places are asked: what
	// a request costs isn't won back on less.
	DefaultMinSize = 16 << 20
	// maxBarren is how many blobs a host is asked about without one link coming
	// of it before it is left alone.
	maxBarren = 3
	// maxHosts is how many hosts are remembered.
	maxHosts = 1000
)

// Options configures a [Client].
type Options struct {
	// Docs asks for headers and metalinks. Required.
	Docs *webdoc.Client
	// MinSize is the size of the smallest blobs whose places are asked, in bytes;
	// 0 means [DefaultMinSize], less than 0 any. Blobs of unknown size are not.
	MinSize int64
	// Torrents says that .torrent files are read, and become magnet links. Without
	// a transport that takes those from others they are of no use.
	Torrents bool
	// Pieces, where set, is handed the piece hashes of a blob that a metalink
	// holds, with the URL of that. They cover the blob by their number; whether
	// they are right nobody knows. It may be called by several goroutines at
	// once.
	Pieces func(desc ocispec.Descriptor, p Pieces, from string)
	// Note, where set, is told of what was read and refused. It may be called by
	// several goroutines at once.
	Note func(discovery.Note)
}

// Client asks web servers for links. It is safe for concurrent use.
type Client struct {
	options Options

	mu    sync.Mutex
	hosts map[string]*host
}

// host is what is known of one host.
type host struct {
	// turn holds a token while a request is under way: there is one at a time.
	turn chan struct{}
	// barren are the places whose answers had no link, since one had.
	barren map[string]bool
}

// New returns a client. Nothing is asked of anyone.
func New(o Options) *Client {
	if o.MinSize == 0 {
		o.MinSize = DefaultMinSize
	}
	return &Client{options: o, hosts: map[string]*host{}}
}

// host returns what is known of a host. When there are too many, all is
// forgotten: it is found anew.
func (c *Client) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		if len(c.hosts) >= maxHosts {
			clear(c.hosts)
		}
		h = &host{turn: make(chan struct{}, 1), barren: map[string]bool{}}
		c.hosts[name] = h
	}
	return h
}

// worth reports whether a host is worth another request.
func (c *Client) worth(h *host) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(h.barren) < maxBarren
}

// heard notes whether the answer of a host about a place had links.
func (c *Client) heard(h *host, uri string, links bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if links {
		clear(h.barren)
		return
	}
	h.barren[uri] = true
}

// header returns the header of a place, nil where the place isn't asked or has
// nothing to say. That it hasn't the blob, or can't be reached, is for who reads
// there to tell.
func (c *Client) header(ctx context.Context, r transport.Route, u *url.URL) *webdoc.Document {
	h := c.host(strings.ToLower(u.Host))
	if !c.worth(h) {
		return nil
	}
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil
	}
	if !c.worth(h) {
		return nil
	}
	doc, err := c.options.Docs.Get(ctx, webdoc.Request{URL: r.URI, Header: true, Floor: r.Remote.Floor()})
	if ctx.Err() != nil {
		return nil
	}
	links := err == nil && len(doc.Header.Values("Link")) > 0
	c.heard(h, r.URI, links)
	if !links {
		return nil
	}
	return doc
}

// notes tells of what isn't used of the entries of one answer or document, a bounded number of them.
type notes struct {
	where string
	tell  func(discovery.Note) // may be nil
	n     int
}

// read tells of a metalink that was read.
func (c *Client) read(where, format string, args ...any) {
	if c.options.Note != nil {
		c.options.Note(discovery.Note{Where: where, Text: "read: " + fmt.Sprintf(format, args...)})
	}
}

func (c *Client) notes(where string) *notes { return &notes{where: where, tell: c.options.Note} }

func (n *notes) add(format string, args ...any) {
	if n.n++; n.tell == nil || n.n > MaxNotes+1 {
		return
	}
	text := fmt.Sprintf(format, args...)
	if n.n > MaxNotes {
		text = fmt.Sprintf("more notes than the limit of %d; no more are told", MaxNotes)
	}
	n.tell(discovery.Note{Where: n.where, Text: text, Ignored: true})
}

// reason returns what an error says beside the place, which is told already.
func reason(err error) string {
	var te *transport.Error
	if errors.As(err, &te) && te.Err != nil {
		return te.Err.Error()
	}
	return err.Error()
}

// shown returns a URL fit to be shown: without the query, where presigned ones
// carry their signature (spec/security.md §5.4).
func shown(u *url.URL) string {
	plain := *u
	plain.User, plain.Fragment, plain.RawFragment = nil, "", ""
	if plain.RawQuery != "" || plain.ForceQuery {
		plain.RawQuery, plain.ForceQuery = "", false
		return plain.String() + "?…"
	}
	return plain.String()
}
