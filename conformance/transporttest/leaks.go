package transporttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/transport"
)

// rounds is how often everything is done while looking for leaks: what is lost
// each time then shows.
const rounds = 20

// leaks tests that nothing is left behind by Opens that went well or badly.
func (s *suite) leaks() {
	p, few := s.put(large), s.small()
	s.t.Run("goroutines and descriptors", func(t *testing.T) {
		unused := settle(t)
		s.round(t, p, few) // what is made once, and connections kept for the next
		before := settle(t)
		for range rounds {
			s.round(t, p, few)
		}
		// Fewer than one a round: what is pooled may vary a little.
		s.checkCounts(t, before, rounds/2, fmt.Sprintf("after %d rounds", rounds))
		if s.closeTransport(t) {
			s.checkCounts(t, unused, 0, "with the transport closed")
		}
	})
}

// checkCounts waits until there is no more than before, and slack, and fails
// the test where that doesn't come.
func (s *suite) checkCounts(t *testing.T, before counts, slack int, when string) {
	t.Helper()
	now := count(t)
	for end := time.Now().Add(s.prompt); time.Now().Before(end); now = count(t) {
		if now.goroutines <= before.goroutines+slack && now.descriptors <= before.descriptors+slack {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%s there are %s, before there were %s; what is new:\n%s", when, now, before, sinceThen(before))
}

// round opens in all the ways there are: closed in the middle, cancelled, given
// up, missing, to the end.
func (s *suite) round(t *testing.T, p, few placed) {
	t.Helper()
	body := s.mustOpen(t, t.Context(), p, 0, p.blob.Size)
	s.readSome(t, body, p.blob)
	s.close(t, body)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body = s.mustOpen(t, ctx, p, 0, p.blob.Size)
	s.readSome(t, body, p.blob)
	cancel()
	s.checkCancelled(t, body)
	s.close(t, body)

	s.giveUp(t, few)

	desc := few.desc
	desc.Digest = digest.FromString("another")
	body, err := s.open(t, t.Context(), few.route, desc, 0, desc.Size)
	if err == nil {
		s.close(t, body)
	} else if wrong := wrongError(err, few.route); wrong != nil {
		t.Error(wrong)
	}
	if sizer, ok := s.h.Transport.(transport.Sizer); ok {
		within(t, s.patience, "Size", func(*notes) { _, _ = sizer.Size(t.Context(), few.route, desc) })
	}

	// Last, so that what is kept for the next is there.
	s.checkRange(t, few, span{offset: 0, length: few.blob.Size})
}

// giveUp cancels an Open that waits for a server that doesn't answer.
func (s *suite) giveUp(t *testing.T, p placed) {
	t.Helper()
	if s.h.Pause == nil {
		return
	}
	s.h.Pause(t)
	defer s.h.Resume(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	body, err := s.openWithin(t, s.prompt, ctx, p.route, p.desc, 0, p.blob.Size)
	if err == nil {
		s.close(t, body)
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open whose time is over: %v, want context.DeadlineExceeded", err)
	}
}

// counts is how much of what may leak there is.
type counts struct {
	goroutines, descriptors int
	ids                     map[string]bool // of the goroutines
}

func (c counts) String() string {
	return fmt.Sprintf("%d goroutines and %d file descriptors", c.goroutines, c.descriptors)
}

// settle waits until it gets no less for a second, and returns what there is.
func settle(t testing.TB) counts {
	t.Helper()
	now := count(t)
	for same := 0; same < 20; same++ {
		time.Sleep(50 * time.Millisecond)
		then := now
		if now = count(t); now.goroutines < then.goroutines || now.descriptors < then.descriptors {
			same = 0
		}
	}
	return now
}

func count(t testing.TB) counts {
	t.Helper()
	c := counts{goroutines: runtime.NumGoroutine(), ids: map[string]bool{}}
	for _, g := range strings.Split(string(stacks()), "\n\n") {
		c.ids[goroutineID(g)] = true
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("counting file descriptors: %v", err)
	}
	c.descriptors = len(fds)
	return c
}

// goroutineID returns N of a stack that begins with "goroutine N [".
func goroutineID(stack string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
	return id
}

// sinceThen returns the stacks of goroutines that weren't there before, and what
// all descriptors are.
func sinceThen(before counts) string {
	var b strings.Builder
	for _, g := range strings.Split(string(stacks()), "\n\n") {
		if !before.ids[goroutineID(g)] {
			fmt.Fprintf(&b, "%s\n\n", g)
		}
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			fmt.Fprintf(&b, "descriptor %s: %s\n", fd.Name(), target)
		}
	}
	return b.String()
}
