package ipfs

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"path"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

const (
	// walkAhead bounds the nodes of a walk that are fetched before it gets to
	// them.
	walkAhead = 16
	// maxTarget bounds a symbolic link's target, in bytes: the kernel's
	// PATH_MAX less the terminating NUL.
	maxTarget = 4095
)

// Entry is something in a directory.
type Entry struct {
	// Path is where, relative to the directory walked: clean, with slashes.
	Path string
	// Type is fs.ModeDir, fs.ModeSymlink, or 0 for a file.
	Type fs.FileMode
	// Mode is the permission bits with setuid, setgid and sticky, where
	// HasMode: UnixFS keeps them only if asked to ("ipfs add
	// --preserve-mode").
	Mode    fs.FileMode
	HasMode bool
	// ModTime is the zero time where there is none ("ipfs add
	// --preserve-mtime").
	ModTime time.Time
	// Size is a file's size in bytes, or -1 where it is known only when it is
	// opened: a file that is one raw block has no node to say it.
	Size int64
	// Target is what a symbolic link leads to, as it is written there.
	Target string
	// Open reads a file from its first byte; nil for what is none. The bytes
	// are verified. Errors are as [Transport.Open]'s.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Walk goes through the directory at uri, ipfs: or ipns:, and all below it, each
// directory before what is in it. The directory itself is not among the
// entries. It ends after the first error, which is one as Open's, or ctx's.
// Files may be opened while it goes on and after it ended. A small DAG may stand
// for very many entries; how many are too many is for the caller to say.
func (t *Transport) Walk(ctx context.Context, uri string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s, n, err := t.root(ctx, uri)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		w := &walk{s: s, parent: ctx, yield: yield}
		var cancel context.CancelFunc
		w.ctx, cancel = context.WithCancel(ctx)
		defer w.wg.Wait()
		defer cancel()
		w.directory("", n, 0)
	}
}

// root returns the directory at a URI.
func (t *Transport) root(ctx context.Context, uri string) (*session, *node, error) {
	p, err := parsePlace(uri)
	if err != nil {
		return nil, nil, err
	}
	if p.anyBlob() {
		return nil, nil, transport.Errorf(transport.ErrPermanent, uri, "a gateway is no directory; write ipfs://CID")
	}
	s, err := t.session(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	_, n, err := s.resolve(ctx, s.path)
	if err == nil && n.kind != directory && n.kind != shard {
		err = s.fail("is a %s, not a directory", n.kind)
	}
	return s, n, err
}

// walk is a walk under way.
type walk struct {
	s      *session
	parent context.Context // the caller's
	ctx    context.Context // ends with the walk
	wg     sync.WaitGroup
	yield  func(Entry, error) bool
	ahead  int // nodes fetched ahead, on all levels
}

// pending is an entry whose node may be on its way.
type pending struct {
	link
	node func() (*node, error) // nil where it was not asked for
}

// directory yields what is in a directory, and reports whether to go on.
func (w *walk) directory(at string, n *node, depth int) bool {
	if depth > maxSegments {
		return w.fail(w.s.fail("more than %d directories deep", maxSegments))
	}
	next, stop := iter.Pull2(w.s.list(w.ctx, n))
	defer stop()
	var queue []pending
	for more := true; more || len(queue) > 0; {
		for more && (len(queue) == 0 || w.ahead < walkAhead) {
			var l link
			var err error
			if l, err, more = next(); !more {
				break
			}
			if err == nil {
				err = checkSegment(l.name)
			}
			if err != nil {
				return w.fail(err)
			}
			queue = append(queue, w.start(l))
		}
		if len(queue) == 0 {
			break
		}
		first := queue[0]
		queue = queue[1:]
		if !w.entry(path.Join(at, first.name), first, depth) {
			return false
		}
	}
	return true
}

// start asks for the node of an entry, unless it is a raw block, which is a
// file whatever is in it.
func (w *walk) start(l link) pending {
	if l.cid.Prefix().Codec == cid.Raw {
		return pending{link: l}
	}
	var n *node
	var err error
	done := make(chan struct{})
	w.ahead++
	w.wg.Go(func() {
		defer close(done)
		n, err = w.s.node(w.ctx, l.cid)
	})
	return pending{link: l, node: func() (*node, error) {
		<-done
		w.ahead--
		return n, err
	}}
}

// entry yields one entry and what is below it.
func (w *walk) entry(at string, p pending, depth int) bool {
	if p.node == nil {
		return w.yield(Entry{Path: at, Size: -1, Open: func(ctx context.Context) (io.ReadCloser, error) {
			c, err := w.s.file(ctx, p.cid)
			if err != nil {
				return nil, err
			}
			return c.open(ctx, everything)
		}}, nil)
	}
	n, err := p.node()
	if err != nil {
		return w.fail(err)
	}
	e := Entry{Path: at, ModTime: n.mtime}
	if n.mode != nil {
		e.Mode, e.HasMode = *n.mode, true
	}
	switch n.kind {
	case file:
		e.Size = n.size
		c := &content{session: w.s, cid: p.cid, node: n}
		e.Open = func(ctx context.Context) (io.ReadCloser, error) { return c.open(ctx, everything) }
	case symlink:
		e.Type, e.Target = fs.ModeSymlink, string(n.data)
		if len(n.data) == 0 || len(n.data) > maxTarget {
			return w.fail(w.s.fail("symbolic link %s with a target of %d bytes; there may be 1 to %d", at, len(n.data), maxTarget))
		}
	default:
		e.Type = fs.ModeDir
		return w.yield(e, nil) && w.directory(at, n, depth+1)
	}
	return w.yield(e, nil)
}

// everything is the part of a file of unknown size that is all of it.
var everything = filetree.Part{Size: -1, Length: -1}

// fail ends the walk with an error.
func (w *walk) fail(err error) bool {
	w.yield(Entry{}, w.s.known(w.parent, err))
	return false
}
