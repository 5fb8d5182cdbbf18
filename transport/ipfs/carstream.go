package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// maxMisses is how many blocks in a row may not be in a CAR where they were
// expected, until it is left. A gateway that leaves out blocks it sent before
// (dups=n) makes some.
const maxMisses = 64

// maxCARTries is how many CARs one reader asks for: when one breaks off it
// takes up where that ended, at another gateway.
const maxCARTries = 4

// carStream is a CAR of the rest of a range while it arrives.
type carStream struct {
	g      *gateway
	body   io.Closer
	cancel context.CancelFunc
	wg     sync.WaitGroup
	blocks chan carBlock

	head    *carBlock // the next one, if it was looked at
	skipped int       // blocks above the one that was wanted first
	found   bool      // that one came
	misses  int
}

// carBlock is a block of a CAR or the error that ended it.
type carBlock struct {
	cid   cid.Cid
	block []byte
	err   error
}

// fromCAR returns the block of it from a CAR. It is nil where it must be asked
// for by itself.
func (r *reader) fromCAR(it *item) ([]byte, error) {
	for r.cars {
		if r.car == nil {
			if err := r.openCAR(); err != nil {
				return nil, err
			}
			continue
		}
		b, err := r.car.peek(r.ctx)
		switch {
		case err != nil:
			return nil, err
		case b.err != nil:
			if err := r.leaveCAR(b); err != nil {
				return nil, err
			}
		case string(b.cid.Hash()) == string(it.cid.Hash()):
			r.car.take()
			return b.block, nil
		case !r.car.skip():
			return nil, nil
		}
		if r.car != nil && r.car.misses > maxMisses {
			r.cars = false
			r.closeCAR()
		}
	}
	return nil, nil
}

// openCAR asks the best gateway for a CAR of what is still wanted, if it makes
// any. The error is for what no other request could mend.
func (r *reader) openCAR() error {
	all := r.s.order()
	r.carTries++
	if len(all) == 0 || r.carTries > maxCARTries || !all[0].makesCARs(r.s.t.options.Reading) {
		r.cars = false
		return nil
	}
	g := all[0]
	ctx, cancel := context.WithCancel(r.ctx)
	var resp *httpclient.Response
	query := fmt.Sprintf("format=car&dag-scope=entity&entity-bytes=%d:%d&car-version=1&car-order=dfs&car-dups=y", r.at, r.end-1)
	err := r.s.askOne(ctx, g, len(all) == 1, func(limited context.Context, g *gateway, answered func()) (err error) {
		// The body must outlive askOne, so the request has ctx, and ends with
		// limited only until it is answered.
		stop := context.AfterFunc(limited, cancel)
		defer stop()
		resp, err = g.get(ctx, r.s.t.client, "/ipfs/"+r.file.String(), query, mediaCAR)
		answered()
		return err
	})
	if err == nil {
		r.car = newCARStream(ctx, cancel, g, resp.Body)
		return nil
	}
	cancel()
	if r.parent.Err() != nil {
		return httpclient.ContextError(r.parent)
	}
	switch {
	case errors.Is(err, transport.ErrPermanent):
		// It knows no CARs, or none of ranges: blocks may do.
		g.giveUpCARs()
	case errors.Is(err, transport.ErrNotFound):
		r.cars = false // who else has it is seen block by block
	default:
		r.s.note(g, err)
	}
	return nil
}

// leaveCAR ends a CAR that broke off or is no CAR, and says so if that can't be
// mended: its gateway lies, and there is no other.
func (r *reader) leaveCAR(b *carBlock) error {
	g := r.car.g
	switch {
	case r.ctx.Err() != nil:
		return httpclient.ContextError(r.parent)
	case errors.Is(b.err, errMismatch):
		lie := g.lied(b.cid, b.err)
		r.s.note(g, lie)
		r.closeCAR()
		if len(r.s.order()) == 0 {
			r.s.findProviders(r.ctx)
		}
		if len(r.s.order()) == 0 {
			return r.s.nobody(r.parent, "file "+r.file.String(), []error{lie})
		}
		return nil
	case errors.Is(b.err, errCAR):
		g.giveUpCARs()
	case errors.Is(b.err, io.EOF):
		// A block is missing, or the gateway thinks that it was enough. Asking
		// for it by itself will tell.
		r.cars = false
	default:
		r.s.note(g, g.readError(r.parent, "file "+r.file.String(), b.err))
	}
	r.closeCAR()
	return nil
}

func (r *reader) closeCAR() {
	if r.car != nil {
		r.car.close()
		r.car = nil
	}
}

// newCARStream reads a CAR ahead of who takes its blocks.
func newCARStream(ctx context.Context, cancel context.CancelFunc, g *gateway, body io.ReadCloser) *carStream {
	c := &carStream{g: g, body: body, cancel: cancel, blocks: make(chan carBlock, 1)}
	c.wg.Go(func() {
		defer close(c.blocks)
		send := func(b carBlock) bool {
			select {
			case c.blocks <- b:
				return b.err == nil
			case <-ctx.Done():
				return false
			}
		}
		blocks, err := newCARReader(body)
		if err != nil {
			send(carBlock{err: err})
			return
		}
		for {
			id, block, err := blocks.next()
			if !send(carBlock{id, block, err}) {
				return
			}
		}
	})
	return c
}

// peek returns the next block without taking it.
func (c *carStream) peek(ctx context.Context) (*carBlock, error) {
	if c.head != nil {
		return c.head, nil
	}
	select {
	case b, ok := <-c.blocks:
		if !ok {
			return nil, httpclient.ContextError(ctx)
		}
		c.head = &b
		return c.head, nil
	case <-ctx.Done():
		return nil, httpclient.ContextError(ctx)
	}
}

// take takes the block that was looked at.
func (c *carStream) take() {
	c.head, c.found, c.misses = nil, true, 0
}

// skip reports whether the block that was looked at, which is not the one
// wanted, was passed over. Before the first that is wanted there may be the
// nodes above it, which were had before.
func (c *carStream) skip() bool {
	if c.found || c.skipped > maxDepth {
		c.misses++
		return false
	}
	c.skipped++
	c.head = nil
	return true
}

// close ends the CAR.
func (c *carStream) close() {
	c.cancel()
	_ = c.body.Close()
	c.wg.Wait()
}
