package fetch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/transport"
)

func fault(kind error) error { return transport.Errorf(kind, "https://h/", "%v", kind) }

func TestBackOff(t *testing.T) {
	temporary := fault(transport.ErrTemporary)
	throttled := func(after time.Duration) error {
		e := transport.Errorf(transport.ErrThrottled, "https://h/", "too often")
		e.RetryAfter = after
		return e
	}
	type failure struct {
		at       time.Duration
		err      error
		progress int64
	}
	// one makes n failures, each as soon as the source may be asked again.
	one := func(n int) []failure {
		var out []failure
		for i := range n {
			out = append(out, failure{time.Duration(i) * 10 * time.Second, temporary, 0})
		}
		return out
	}
	for name, test := range map[string]struct {
		failures []failure
		wait     time.Duration // after the last
		gone     bool
	}{
		"once":         {one(1), 100 * time.Millisecond, false},
		"three times":  {one(3), 400 * time.Millisecond, false},
		"too often":    {one(6), 3200 * time.Millisecond, true},
		"of all kinds": {[]failure{{0, errors.New("what?"), 0}}, 100 * time.Millisecond, false},
		"six connections at once": {[]failure{{0, temporary, 0}, {0, temporary, 0}, {1, temporary, 0}, {2, temporary, 0},
			{3, temporary, 0}, {4, temporary, 0}}, 200 * time.Millisecond, false},
		"with progress":      {append(one(5), failure{time.Minute, temporary, 1 << 20}), 100 * time.Millisecond, false},
		"after a long peace": {append(one(5), failure{time.Hour, temporary, 0}), 100 * time.Millisecond, false},
		"Retry-After":        {[]failure{{0, throttled(7 * time.Second), 0}}, 7 * time.Second, false},
		"an unreasonable Retry-After": {[]failure{{0, throttled(time.Hour), 0}},
			throttleMax, true},
		"not shortened by another failure": {[]failure{{0, throttled(7 * time.Second), 0}, {1, temporary, 0}}, 7*time.Second - 1, false},
		"not found":                        {[]failure{{0, fault(transport.ErrNotFound), 0}}, 0, true},
		"permanent":                        {[]failure{{0, fault(transport.ErrPermanent), 0}}, 0, true},
		"no ranges":                        {[]failure{{0, fault(transport.ErrRangeUnsupported), 0}}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			base := time.Unix(1000, 0)
			s := &source{key: "https://h/"}
			var gone bool
			var now time.Time
			for _, f := range test.failures {
				now = base.Add(f.at)
				gone = s.failed(f.err, f.progress, now)
			}
			if ok, wait := s.usable(now); !ok || wait != test.wait || gone != test.gone {
				t.Errorf("usable %v, wait %v, gone %v; want true, %v, %v", ok, wait, gone, test.wait, test.gone)
			}
		})
	}
}

// What a source was condemned for is not forgotten for what happens to its
// other connections.
func TestReasonStays(t *testing.T) {
	for name, test := range map[string]struct {
		condemn func(s *source)
		status  Status
	}{
		"quarantined": {func(s *source) { s.quarantine("sent wrong bytes") }, StatusQuarantined},
		"refused": {func(s *source) {
			s.failed(transport.Errorf(transport.ErrUnauthorized, "", "sent wrong bytes"), 0, time.Now())
		}, StatusRefused},
		"demoted": {func(s *source) { s.rest("sent wrong bytes", time.Second, time.Now()) }, StatusDemoted},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{key: "https://h/"}
			test.condemn(s)
			s.failed(fault(transport.ErrNotFound), 0, time.Now())
			if test.status != StatusDemoted {
				s.failed(fault(transport.ErrTemporary), 0, time.Now())
				s.rest("slow", time.Second, time.Now())
			}
			if r := s.report(time.Now()); r.Status != test.status || r.Reason != "sent wrong bytes" {
				t.Errorf("%s (%s)", r.Status, r.Reason)
			}
		})
	}
}

// A 403 for one blob doesn't cost a source that has served others.
func TestRefusalOfOneBlob(t *testing.T) {
	s := &source{key: "https://h/"}
	s.read(1000, time.Now())
	if gone := s.failed(fault(transport.ErrUnauthorized), 0, time.Now()); !gone {
		t.Error("it is asked again for the blob")
	}
	if ok, _ := s.usable(time.Now()); !ok {
		t.Error("it isn't asked for others")
	}
}

func TestRestEndsWhenNobodyElseIsLeft(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &source{key: "https://h/"}
	s.rest("slow", 30*time.Second, now)
	s.recall(now)
	if _, wait := s.usable(now); wait != 0 {
		t.Errorf("rests for %v", wait)
	}
	s.failed(fault(transport.ErrTemporary), 0, now)
	s.recall(now)
	if _, wait := s.usable(now); wait == 0 {
		t.Error("a back-off was ended that isn't a rest")
	}
}

// Where a source was forbidden over one blob, it is what keeps the next from
// being had too.
func TestForbiddenOverAnotherBlob(t *testing.T) {
	refusal := transport.Errorf(transport.ErrRefused, "x:a", "its key has changed")
	e := New(Options{Transport: transport.Schemes{}})
	src := e.source(transport.Route{URI: "x:a"})
	src.failed(refusal, 0, time.Now())
	tr := newTransfer(e, describeBlob(faultserver.RandomBlob(1, 10)), context.Background())
	tr.members = []*member{{src: src}}
	if err := tr.failure(); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("got %v", err)
	}
	other := e.source(transport.Route{URI: "x:b"})
	other.failed(transport.Errorf(transport.ErrUnauthorized, "x:b", "no"), 0, time.Now())
	tr.members = []*member{{src: src}, {src: other}}
	if err := tr.failure(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("with one that wants a login: got %v", err)
	}
}
