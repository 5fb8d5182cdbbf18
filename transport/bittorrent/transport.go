package bittorrent

import (
	"context"
	"io"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// Transport is the [transport.Transport] and [transport.Sizer] of the schemes
// magnet and torrent. It is safe for concurrent use. It opens no socket before
// it is asked for something, and closes them when it was not for a while.
type Transport struct {
	options Options

	mu     sync.Mutex
	closed bool
	node   *node // nil while no torrent is joined
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport.
func New(options Options) *Transport {
	return &Transport{options: options.withDefaults()}
}

// Open implements [transport.Transport]. It returns when the metadata of the
// torrent are known and the piece with the first byte has come. It and the
// reader end in [transport.ErrTemporary] when nobody sends anything for
// Options.StallTimeout.
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	sw, file, err := t.find(ctx, route.URI, desc)
	if err != nil {
		return nil, err
	}
	switch {
	case length == -1 && offset == 0:
		length = file.length
	case offset < 0 || length < 0 || offset > file.length || length > file.length-offset:
		sw.unuse()
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "no %d bytes at offset %d in %d bytes", length, offset, file.length)
	}
	b := sw.open(ctx, route.URI, file, offset, length)
	if err := b.begin(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	sw, file, err := t.find(ctx, route.URI, desc)
	if err != nil {
		return 0, err
	}
	sw.unuse()
	return file.length, nil
}

// find returns the torrent of uri, in use, and the file in it that is desc.
func (t *Transport) find(ctx context.Context, uri string, desc ocispec.Descriptor) (*swarm, entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, entry{}, err
	}
	l, err := parse(uri)
	if err != nil {
		return nil, entry{}, err
	}
	if err := l.load(); err != nil {
		return nil, entry{}, err
	}
	sw, err := t.join(l)
	if err != nil {
		return nil, entry{}, err
	}
	if err := sw.metadata(ctx, uri, t.options.MetadataTimeout); err != nil {
		sw.unuse()
		return nil, entry{}, err
	}
	file, err := choose(uri, sw.files, l.path, desc)
	if err != nil {
		sw.unuse()
		return nil, entry{}, err
	}
	return sw, file, nil
}

// join returns the torrent that l names, in use: the one there is already, told
// of the peers, trackers and web seeds of l, or a new one.
func (t *Transport) join(l *link) (*swarm, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, transport.Errorf(transport.ErrTemporary, l.uri, "the transport was closed")
	}
	if t.node == nil {
		n, err := newNode(t)
		if err != nil {
			return nil, transport.Errorf(transport.ErrTemporary, l.uri, "starting the BitTorrent client: %w", err)
		}
		t.node = n
	}
	sw, err := t.node.join(l)
	if err != nil {
		t.node.closeIfUnused()
		return nil, err
	}
	sw.uses++
	if sw.timer != nil {
		sw.timer.Stop()
		sw.timer = nil
	}
	return sw, nil
}

// unuse takes back one use of join. The torrent is left a while after the last.
func (sw *swarm) unuse() {
	t := sw.node.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if sw.uses--; sw.uses > 0 || t.node != sw.node {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(t.options.Idle, func() { sw.expire(timer) })
	sw.timer = timer
}

// expire leaves the torrent, unless it was used again since the timer was set.
func (sw *swarm) expire(timer *time.Timer) {
	t := sw.node.transport
	t.mu.Lock()
	if t.node != sw.node || sw.timer != timer {
		t.mu.Unlock()
		return
	}
	n := sw.node
	n.forget(sw)
	last := len(n.swarms) == 0
	if last {
		t.node = nil
	}
	t.mu.Unlock()

	sw.drop()
	if last {
		n.close()
	}
}

// Close leaves all torrents and closes every connection. Open readers end with
// an error.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	n := t.node
	t.node = nil
	t.mu.Unlock()
	if n != nil {
		n.close()
	}
	return nil
}

// turn is how long peers let a newcomer wait: they decide every ten seconds to
// whom they send (BEP 3, "Choking and optimistic unchoking"), and one has to be
// met, and its metadata be had, before.
const turn = 15 * time.Second

// Turn implements [transport.Queuer].
func (t *Transport) Turn(transport.Route) time.Duration { return turn }
