package resolve

import (
	"context"
	"errors"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// Retry is a Resolver that asks again after temporary failures: with a growing
// pause, or the one that was asked for (Retry-After).
type Retry struct {
	Resolver Resolver
	// Attempts is how often it asks at most. Default 5.
	Attempts int
	// Timeout is how long one attempt may take. Default 20 s.
	Timeout time.Duration
	// Observe, when set, is told why it asks again, and when.
	Observe func(err error, wait time.Duration)
}

const (
	retryFirst = 200 * time.Millisecond
	retryMax   = time.Minute // a longer Retry-After is an error
)

// Resolve implements [Resolver].
func (r Retry) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	attempts := r.Attempts
	if attempts <= 0 {
		attempts = 5
	}
	for i := 0; ; i++ {
		res, err := r.once(ctx, n, known)
		wait, again := pause(err, i)
		if !again || i+1 == attempts || ctx.Err() != nil {
			return res, err
		}
		if r.Observe != nil {
			r.Observe(err, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Resolution{}, context.Cause(ctx)
		}
	}
}

func (r Retry) once(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = 20 * time.Second
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := r.Resolver.Resolve(limited, n, known)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &transport.Error{Kind: transport.ErrTemporary, URI: n.String(), Err: fmt.Errorf("no answer in %v", timeout)}
	}
	return res, err
}

// pause says whether, and after how long, to ask again after the i-th failure.
func pause(err error, i int) (time.Duration, bool) {
	var te *transport.Error
	switch {
	case err == nil:
		return 0, false
	case errors.Is(err, transport.ErrThrottled) && errors.As(err, &te) && te.RetryAfter > 0:
		return te.RetryAfter, te.RetryAfter <= retryMax
	case errors.Is(err, transport.ErrTemporary), errors.Is(err, transport.ErrThrottled):
		return retryFirst << i, true
	}
	return 0, false
}
