package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// The media types of the Trustless Gateway specification
// (https://specs.ipfs.tech/http-gateways/trustless-gateway/).
const (
	mediaRaw    = "application/vnd.ipld.raw"
	mediaCAR    = "application/vnd.ipld.car"
	mediaRecord = "application/vnd.ipfs.ipns-record"
)

const (
	// stalled is how long a request must have taken for a gateway to be
	// blamed when the caller gives up.
	stalled = time.Second
	// maxPause is the longest that a gateway that failed comes after all
	// others.
	maxPause = time.Minute
	// maxRequests bounds the requests to one gateway that wait for an answer
	// or read a block, of all readers together.
	maxRequests = 16
	// maxGateways bounds how many gateways' health is remembered.
	maxGateways = 1000
)

// gateway is a trustless gateway and how it has fared.
type gateway struct {
	endpoint
	floor netclass.Class // of the networks it may be in
	near  bool           // on this machine
	slots chan struct{}  // one for each request under way

	mu       sync.Mutex
	failures int // in a row
	until    time.Time
	carless  bool // it can't make CARs of ranges
	lies     bool // it sent wrong data
	told     bool // somebody was told of its failing
}

// gatewayKey is what makes two gateways the same one.
type gatewayKey struct {
	endpoint
	floor netclass.Class
}

// gateway returns the gateway at e, the same for the same e.
func (t *Transport) gateway(e endpoint, floor netclass.Class) *gateway {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := gatewayKey{e, floor}
	if g := t.gateways[key]; g != nil {
		return g
	}
	g := &gateway{endpoint: e, floor: floor, slots: make(chan struct{}, maxRequests)}
	if u, err := url.Parse(e.base); err == nil {
		class, known := netclass.OfHost(u.Hostname())
		g.near = known && class == netclass.Loopback
	}
	if len(t.gateways) < maxGateways {
		t.gateways[key] = g
	}
	return g
}

func (g *gateway) healthy(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !now.Before(g.until)
}

func (g *gateway) succeeded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures, g.until = 0, time.Time{}
}

// failed puts the gateway behind the others for a while, twice as long each
// time, or for as long as it asked.
func (g *gateway) failed(asked time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pause := min(max(time.Second<<min(g.failures, 10), asked), maxPause)
	g.failures++
	g.until = time.Now().Add(pause)
}

// makesCARs reports whether the gateway should be asked for CARs.
func (g *gateway) makesCARs(r Reading) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.carless && (r == CARs || r == Auto && !g.near)
}

// firstLie notes that the gateway sent wrong data, and reports whether this was
// the first time.
func (g *gateway) firstLie() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.lies
	g.lies = true
	return first
}

// firstFailure reports whether it is called for the first time.
func (g *gateway) firstFailure() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.told
	g.told = true
	return first
}

// liar reports whether the gateway sent wrong data before.
func (g *gateway) liar() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lies
}

func (g *gateway) giveUpCARs() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.carless = true
}

// get asks the gateway for a path with a query, as mediaType.
func (g *gateway) get(ctx context.Context, client *httpclient.Client, path, query, mediaType string) (*httpclient.Response, error) {
	resp, err := client.Do(ctx, &httpclient.Request{
		URL: g.base + path + "?" + query, Header: header(mediaType),
		Authorization: g.authorization, Floor: g.floor,
	})
	if err != nil {
		return nil, err
	}
	fail := func(kind error, format string, args ...any) (*httpclient.Response, error) {
		_ = resp.Body.Close()
		return nil, transport.Errorf(kind, g.base, format, args...)
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return fail(transport.ErrPermanent, "answered with Content-Encoding %q, asked for identity", httpclient.OneLine(coding))
	}
	if resp.StatusCode != http.StatusOK {
		return fail(transport.ErrPermanent, "answered %d to a GET", resp.StatusCode)
	}
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != mediaType {
		return fail(transport.ErrPermanent, "answered %q where %s was asked: not a trustless gateway", httpclient.OneLine(got), mediaType)
	}
	return resp, nil
}

// block returns a block, verified. answered is called once the gateway has
// begun to answer.
func (g *gateway) block(ctx context.Context, client *httpclient.Client, c cid.Cid, answered func()) ([]byte, error) {
	resp, err := g.get(ctx, client, "/ipfs/"+c.String(), "format=raw", mediaRaw)
	if err != nil {
		return nil, err
	}
	answered()
	defer resp.Body.Close()
	block, err := readAll(resp, MaxBlock)
	if err != nil {
		return nil, g.readError(ctx, "block "+c.String(), err)
	}
	if err := verify(c, block); err != nil {
		return nil, g.lied(c, err)
	}
	return block, nil
}

// lied returns the error for a block that is not the one its CID names.
func (g *gateway) lied(c cid.Cid, err error) error {
	return transport.Errorf(transport.ErrPermanent, g.base, "block %s: %w: the gateway sends wrong data", c, err)
}

// readError returns what it means that the body of an answer could not be
// read.
func (g *gateway) readError(ctx context.Context, what string, err error) error {
	var tooLarge *tooLargeError
	switch {
	case ctx.Err() != nil:
		return httpclient.ContextError(ctx)
	case errors.As(err, &tooLarge), errors.Is(err, errCAR):
		return transport.Errorf(transport.ErrPermanent, g.base, "%s: %w", what, err)
	}
	return transport.Errorf(transport.ErrTemporary, g.base, "%s: %w", what, unexpected(err))
}

// tooLargeError says that an answer is over its cap.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("larger than the limit of %d bytes", e.limit)
}

// readAll reads a body of at most limit bytes.
func readAll(resp *httpclient.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, &tooLargeError{limit}
	}
	if resp.ContentLength >= 0 {
		content := buffer(int(resp.ContentLength))
		if _, err := io.ReadFull(resp.Body, content); err != nil {
			return nil, err
		}
		return content, nil
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = &tooLargeError{limit}
	}
	return content, err
}

// known returns the gateways there are without asking anybody.
func (t *Transport) known() ([]*gateway, error) {
	var all []*gateway
	if !t.options.NoLocal {
		e, _, err := localGateway()
		if err != nil {
			return nil, err
		}
		if e != nil {
			all = append(all, t.gateway(*e, netclass.Loopback))
		}
	}
	for _, e := range t.configured {
		g := t.gateway(e, netclass.Loopback)
		if len(all) == 0 || all[0] != g {
			all = append(all, g)
		}
	}
	return all, nil
}
