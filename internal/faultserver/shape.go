package faultserver

import (
	"context"
	"sync"
	"time"
)

const (
	// maxShaped is the most bytes written at once under a limit, and also the
	// most an idle bucket saves up: together they are the burst.
	maxShaped = 32 << 10
	// maxLate is the most lateness of a timer that is made up for.
	maxLate = 250 * time.Millisecond
)

// bucket is a token bucket, kept as the time up to which its rate is spent. It
// may be shared; the zero bucket has no limit.
type bucket struct {
	mu    sync.Mutex
	rate  int64 // bytes a second; zero is no limit
	spent time.Time
}

// setRate changes the rate for what is written from now on.
func (b *bucket) setRate(rate int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = max(0, rate)
	b.spent = time.Now()
}

// quantum is the most bytes to write at once, at least a hundred times a
// second; zero where there is no limit.
func (b *bucket) quantum() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return quantum(b.rate)
}

func quantum(rate int64) int {
	if rate == 0 {
		return 0
	}
	return int(min(max(rate/100, 1), maxShaped))
}

// reserve takes n bytes out of the bucket and says when they may be sent. What
// the caller woke late from its last wait is given back, so that the rate holds
// on a busy machine too.
func (b *bucket) reserve(n int, late time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.rate == 0 {
		return now
	}
	oldest := now.Add(-lasts(quantum(b.rate), b.rate) - late)
	if b.spent.Before(oldest) {
		b.spent = oldest
	}
	start := b.spent
	b.spent = start.Add(lasts(n, b.rate))
	return start
}

// lasts is how long n bytes take at rate.
func lasts(n int, rate int64) time.Duration {
	return time.Duration(float64(n) / float64(rate) * float64(time.Second))
}

// pacer holds one answer to the limits of several buckets.
type pacer struct {
	buckets []*bucket
	late    time.Duration
}

// quantum is the most bytes to write at once, or zero where nothing limits.
func (p *pacer) quantum() int {
	least := 0
	for _, b := range p.buckets {
		if q := b.quantum(); q > 0 && (least == 0 || q < least) {
			least = q
		}
	}
	return least
}

// wait returns when n bytes may be sent, or when ctx ends.
func (p *pacer) wait(ctx context.Context, n int) error {
	var start time.Time
	for _, b := range p.buckets {
		if t := b.reserve(n, p.late); t.After(start) {
			start = t
		}
	}
	p.late = 0
	if d := time.Until(start); d > 0 {
		if err := sleep(ctx, d); err != nil {
			return err
		}
		p.late = min(time.Since(start), maxLate)
	}
	return ctx.Err()
}

// sleep waits for d or for ctx to end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
