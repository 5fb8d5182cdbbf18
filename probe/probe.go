// Package probe asks a place how it does: whether it answers, has the blob in
// the right size, knows ranges, how soon its first byte comes and how fast a
// short sample is. What it reads is thrown away and proves nothing about the
// content; only a fetch verifies.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

const (
	// DefaultTimeout is how long a place is given for all of a probe.
	DefaultTimeout = 5 * time.Second
	// SampleSize is the most that is read of a blob, in bytes.
	SampleSize = 2 << 20
	// sampleTime is the longest that is read.
	sampleTime = time.Second
)

// Result is what came of a probe.
type Result struct {
	// Err is why the place is no use for this blob, as the transport says it;
	// nil where it is of use.
	Err error
	// Latency is the time from the question to the first byte, whatever
	// connecting and logging in took included.
	Latency time.Duration
	// BytesPerSecond is the rate of the sample; 0 where the blob is too small
	// to tell, or nothing came after the first bytes.
	BytesPerSecond int64
	// Ranges reports whether the place sent a part when asked for one. A blob
	// of one byte or none is always sent whole.
	Ranges bool
	// Size is the blob's size in bytes as the place says or shows it, or -1.
	Size int64
}

// Route probes one place for one blob. It takes no longer than ctx and
// [DefaultTimeout] allow.
func Route(ctx context.Context, t transport.Transport, r transport.Route, desc ocispec.Descriptor) Result {
	late := fmt.Errorf("no answer in %v", DefaultTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, DefaultTimeout, late)
	defer cancel()
	p := prober{t: t, route: r, desc: desc, result: Result{Size: -1}}
	err := p.run(ctx)
	switch {
	case err == nil || ctx.Err() == nil:
	case p.got > 0 && context.Cause(ctx) == late:
		err = transport.Errorf(transport.ErrTemporary, r.URI, "sent %d bytes, and then nothing more within %v", p.got, DefaultTimeout)
	case !errors.As(err, new(*transport.Error)):
		err = transport.Errorf(transport.ErrTemporary, r.URI, "%w", context.Cause(ctx))
	}
	p.result.Err = err
	return p.result
}

// prober is one probe under way.
type prober struct {
	t      transport.Transport
	route  transport.Route
	desc   ocispec.Descriptor
	result Result
	got    int64 // bytes of the sample
}

func (p *prober) run(ctx context.Context) error {
	if sizer, ok := p.t.(transport.Sizer); ok {
		size, err := sizer.Size(ctx, p.route, p.desc)
		switch {
		case err != nil:
			return err
		case size >= 0 && p.desc.Size >= 0 && size != p.desc.Size:
			p.result.Size = size
			return transport.Errorf(transport.ErrPermanent, p.route.URI, "has %d bytes, want %d", size, p.desc.Size)
		}
		p.result.Size = size
		if p.desc.Size < 0 {
			p.desc.Size = size
		}
	}
	body, length, asked, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	return p.sample(body, length, asked)
}

// open asks for a part from the middle of the blob or, where the place doesn't
// know parts or there are none, for all of it.
func (p *prober) open(ctx context.Context) (body io.ReadCloser, length int64, asked time.Time, err error) {
	if p.desc.Size > 1 {
		offset := p.desc.Size / 2
		length = min(p.desc.Size-offset, SampleSize)
		asked = time.Now()
		body, err = p.t.Open(ctx, p.route, p.desc, offset, length)
		if err == nil {
			p.result.Ranges = true
			return body, length, asked, nil
		}
		if !errors.Is(err, transport.ErrRangeUnsupported) {
			return nil, 0, asked, err
		}
	}
	asked = time.Now()
	body, err = p.t.Open(ctx, p.route, p.desc, 0, p.desc.Size)
	return body, p.desc.Size, asked, err
}

// minRated is how much has to come after the first read for a rate to mean
// anything, in bytes.
const minRated = 64 << 10

// sample reads length bytes (-1 for all), or as many as come in the time there
// is.
func (p *prober) sample(body io.Reader, length int64, asked time.Time) error {
	buffer := make([]byte, 128<<10)
	most := int64(SampleSize)
	if length >= 0 {
		most = min(most, length)
	}
	var first time.Time
	var head int64
	var slow bool
	for p.got < most || length == 0 {
		n, err := body.Read(buffer)
		if now := time.Now(); (n > 0 || err != nil) && first.IsZero() {
			first, head = now, int64(n)
			p.result.Latency = now.Sub(asked)
		}
		p.got += int64(n)
		if errors.Is(err, io.EOF) {
			if length >= 0 && p.got < length {
				return transport.Errorf(transport.ErrPermanent, p.route.URI, "ended after %d bytes of %d", p.got, length)
			}
			if length < 0 {
				p.result.Size = p.got
			}
			break
		}
		if err != nil {
			return err
		}
		if slow = time.Since(first) > sampleTime && p.got > 0; slow {
			break
		}
	}
	if rest, took := p.got-head, time.Since(first); (slow || rest >= minRated) && took > 0 {
		p.result.BytesPerSecond = int64(float64(rest) / took.Seconds())
	}
	return nil
}
