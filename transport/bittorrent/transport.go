package bittorrent

import (
	"context"
	"io"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

// Transport is the [transport.Transport] and [transport.Sizer] of the schemes
// magnet and torrent, and resolves names of layouts that are torrents. It is safe
// for concurrent use. It opens no socket before it is asked for something, and
// closes them when it was not for a while.
type Transport struct {
	*filetree.Tree
	options Options

	mu     sync.Mutex
	closed bool
	node   *node // nil while no torrent is joined
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ filetree.Files      = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport.
func New(options Options) *Transport {
	t := &Transport{options: options.withDefaults()}
	t.Tree = filetree.New(t)
	return t
}

// Open implements [transport.Transport]. It returns when the metadata of the
// torrent are known and the piece with the first byte has come. It and the
// reader end in [transport.ErrTemporary] when nobody sends anything for
// Options.StallTimeout.
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	sw, file, err := t.findBlob(ctx, route.URI, desc, true)
	if err != nil {
		return nil, err
	}
	return sw.openRange(ctx, route.URI, file, offset, length)
}

// openRange opens a part of a file. The swarm's use by the caller becomes that
// of what it returns.
func (sw *swarm) openRange(ctx context.Context, uri string, file entry, offset, length int64) (io.ReadCloser, error) {
	switch {
	case length == -1 && offset == 0:
		length = file.length
	case offset < 0 || length < 0 || offset > file.length || length > file.length-offset:
		sw.unuse()
		return nil, transport.Errorf(transport.ErrPermanent, uri, "no %d bytes at offset %d in %d bytes", length, offset, file.length)
	}
	b := sw.open(ctx, uri, file, offset, length)
	if err := b.begin(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Size implements [transport.Sizer].
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	sw, file, err := t.findBlob(ctx, route.URI, desc, true)
	if err != nil {
		return 0, err
	}
	sw.unuse()
	return file.length, nil
}

// findBlob returns the torrent of uri, in use, and the file in it that is desc.
func (t *Transport) findBlob(ctx context.Context, uri string, desc ocispec.Descriptor, read bool) (*swarm, entry, error) {
	return t.find(ctx, uri, read, func(files []entry, named string) (entry, error) {
		return choose(uri, files, named, desc)
	})
}

// find returns the torrent of uri, in use, and the one of its files that choose
// returns, which is called with what the fragment names. read says that the file
// is to be read rather than seeded.
func (t *Transport) find(ctx context.Context, uri string, read bool, choose func(files []entry, named string) (entry, error)) (*swarm, entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, entry{}, err
	}
	l, err := parse(uri)
	if err != nil {
		return nil, entry{}, err
	}
	if l.file != "" && t.options.Public {
		return nil, entry{}, transport.Errorf(transport.ErrRefused, uri, "a file of this machine is not for others to name")
	}
	if err := l.load(); err != nil {
		return nil, entry{}, err
	}
	sw, err := t.join(l)
	if err != nil {
		return nil, entry{}, err
	}
	if read {
		sw.want()
	}
	if err := sw.metadata(ctx, uri, t.options.MetadataTimeout); err != nil {
		sw.unuse()
		return nil, entry{}, err
	}
	file, err := choose(sw.files, l.path)
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

// use is one more use, by somebody who has one.
func (sw *swarm) use() {
	t := sw.node.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	sw.uses++
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
