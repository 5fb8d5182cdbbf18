package fetch

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// Status says what became of a source.
type Status string

// The states a source may end in. They are the values of "status" in the
// output of waybill explain.
const (
	StatusUnused      Status = "unused"      // never served a byte
	StatusUsed        Status = "used"        // served bytes that were kept
	StatusDemoted     Status = "demoted"     // set aside for failing or for being slow
	StatusQuarantined Status = "quarantined" // sent wrong bytes; not asked again
	StatusRefused     Status = "refused"     // wanted credentials or was forbidden by policy
)

// source is what the engine has learnt about one place, over all blobs of its
// life. It is shared by the transfers and guarded by its own mutex, which is
// never held while another is taken.
type source struct {
	key    string // without any password
	origin string
	past   bool // it stands for what an earlier fetch left of it on this disk

	mu          sync.Mutex
	wholeOnly   bool          // answers ranges with whole blobs
	quarantined bool          // proven to have sent wrong bytes
	refused     bool          // unauthorised, or forbidden by policy
	forbidden   bool          // the latter
	reason      string        // why it is demoted, quarantined or refused
	missing     string        // what it last said of a blob it doesn't have
	demoted     bool          // was set aside at least once and has not served since
	failures    int           // consecutive, without progress between them
	notBefore   time.Time     // back-off: not asked until then
	resting     bool          // the back-off is for being slow, and ends when nobody else is at hand
	latency     time.Duration // smoothed time to the first byte
	quickest    time.Duration // the shortest such time
	rate        float64       // smoothed bytes/s of one connection
	meter       meter         // bytes/s over all its connections
	received    int64         // bytes read from it, kept or not
	kept        int64         // bytes of it that were committed or are on disk
}

// usable reports whether the source may be asked, and if only later, when.
func (s *source) usable(now time.Time) (ok bool, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quarantined || s.refused {
		return false, 0
	}
	return true, max(0, s.notBefore.Sub(now))
}

func (s *source) isWholeOnly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wholeOnly
}

func (s *source) speed() (bytesPerSecond float64, latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate, s.latency
}

// opened notes that the first byte of an answer took d.
func (s *source) opened(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = smooth(s.latency, d)
	if s.quickest == 0 || d < s.quickest {
		s.quickest = d
	}
}

// atBest is the time to the first byte where no other answer is in the way.
func (s *source) atBest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quickest
}

// read notes that n bytes have just arrived.
func (s *source) read(n int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received += int64(n)
	s.meter.add(int64(n), now)
}

// finished notes the rate of a connection that has done what it was to; 0 where
// it can't be told.
func (s *source) finished(r float64) {
	if r <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rate == 0 {
		s.rate = r
	} else {
		s.rate = 0.5*s.rate + 0.5*r
	}
}

// progressed notes that the source did what it was asked, which forgives what
// it failed at before.
func (s *source) progressed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
	s.demoted = false
}

// Back-off after consecutive failures without progress between them.
const (
	backoffFirst  = 100 * time.Millisecond
	backoffMax    = 5 * time.Second
	backoffForget = time.Minute     // after so long without a failure they count anew
	failuresMax   = 6               // then the source is given up for the blob
	throttleMax   = 2 * time.Minute // a longer Retry-After is as good as gone
	throttleGuess = time.Second     // 429 without Retry-After
	progressMin   = 64 << 10        // bytes that count as progress
)

// failed notes a failure and returns how the source stands with it for the
// blob at hand: gone for good, or to be asked again after a while.
func (s *source) failed(err error, progress int64, now time.Time) (gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.quarantined || s.refused:
		return true // and the reason stays what it is
	case errors.Is(err, transport.ErrNotFound):
		s.missing = reasonOf(err)
		return true
	case errors.Is(err, transport.ErrRangeUnsupported):
		s.wholeOnly = true
		return false
	}
	s.reason = reasonOf(err)
	switch {
	case errors.Is(err, transport.ErrUnauthorized), errors.Is(err, transport.ErrRefused):
		// Object stores answer 403 for what isn't there, so one that has
		// served something is only left alone for this blob.
		s.refused, s.demoted = s.received == 0, s.received > 0
		s.forbidden = s.refused && errors.Is(err, transport.ErrRefused)
		return true
	case errors.Is(err, transport.ErrPermanent):
		s.demoted = true
		return true
	}
	// Throttled, temporary, or of a kind nobody told us: worth asking again.
	if progress >= progressMin || now.Sub(s.notBefore) > backoffForget {
		s.failures = 0
	}
	wait, most := min(backoffMax, backoffFirst<<min(s.failures, 10)), time.Duration(math.MaxInt64)
	if errors.Is(err, transport.ErrThrottled) {
		wait, most = throttleGuess<<min(s.failures, 6), throttleMax
		var te *transport.Error
		if errors.As(err, &te) && te.RetryAfter > 0 {
			wait = te.RetryAfter
		}
	}
	if s.demoted = true; !now.Before(s.notBefore) {
		s.failures++ // connections that fail together count once
	}
	if until := now.Add(min(wait, most)); until.After(s.notBefore) {
		s.notBefore, s.resting = until, false
	}
	return wait > most || s.failures >= failuresMax
}

// rest sets the source aside for d, for being slow.
func (s *source) rest(reason string, d time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quarantined || s.refused {
		return
	}
	s.demoted = true
	s.reason = reason
	s.notBefore = now.Add(d)
	s.resting = true
}

// recall ends a rest early: a slow source is better than none.
func (s *source) recall(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resting {
		s.resting, s.notBefore = false, now
	}
}

// quarantine marks the source as a proven liar. It reports whether that is news.
func (s *source) quarantine(reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quarantined {
		return false
	}
	s.quarantined = true
	s.reason = reason
	return true
}

// amend adds to why the source is quarantined.
func (s *source) amend(more string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quarantined && !strings.Contains(s.reason, more) {
		s.reason += more
	}
}

func (s *source) isQuarantined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quarantined
}

// sent is how many bytes were read from it.
func (s *source) sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

// keep notes that n bytes of the source were kept.
func (s *source) keep(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept += n
}

// SourceReport is how a source did so far.
type SourceReport struct {
	URI            string  // the route's Source
	Origin         string  // who named it
	Status         Status  // what became of it
	Reason         string  // why, for any status but used; of one unused, what it said of a blob it hasn't
	Bytes          int64   // bytes of it that are part of blobs
	Received       int64   // bytes read from it, kept or not
	BytesPerSecond float64 // now
	LatencySeconds float64 // smoothed time to first byte; 0 when unknown
}

func (s *source) report(now time.Time) SourceReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := SourceReport{
		URI: s.key, Origin: s.origin, Reason: s.reason,
		Bytes: s.kept, Received: s.received, BytesPerSecond: s.meter.rate(now),
		LatencySeconds: s.latency.Seconds(),
	}
	switch {
	case s.quarantined:
		r.Status = StatusQuarantined
	case s.refused:
		r.Status = StatusRefused
	case s.demoted:
		r.Status = StatusDemoted
	case s.kept > 0:
		r.Status, r.Reason = StatusUsed, ""
	default:
		r.Status, r.Reason = StatusUnused, s.missing
	}
	return r
}

// reasonOf gives an error's one line without the place's name where the error
// says it, since the reason always stands beside that name.
func reasonOf(err error) string {
	var te *transport.Error
	if errors.As(err, &te) {
		if te.Err != nil {
			return te.Err.Error()
		}
		return te.Kind.Error()
	}
	return err.Error()
}

func smooth(old, sample time.Duration) time.Duration {
	if old == 0 {
		return sample
	}
	return (3*old + sample) / 4
}

// meter measures a rate over a sliding window of about a second.
type meter struct {
	slots [meterSlots]int64
	at    int64 // number of the newest slot since the epoch
	began int64
}

const (
	meterSlots = 10
	meterSlot  = 100 * time.Millisecond
)

func (m *meter) turn(now time.Time) {
	slot := now.UnixNano() / int64(meterSlot)
	if m.began == 0 {
		m.began, m.at = slot, slot
	}
	for ; m.at < slot; m.at++ {
		if slot-m.at > meterSlots {
			m.at = slot - meterSlots
		}
		m.slots[(m.at+1)%meterSlots] = 0
	}
}

func (m *meter) add(n int64, now time.Time) {
	m.turn(now)
	m.slots[m.at%meterSlots] += n
}

// rate returns bytes per second over the window, leaving out the slot that is
// being filled unless there is no other.
func (m *meter) rate(now time.Time) float64 {
	if m.began == 0 {
		return 0
	}
	m.turn(now)
	var sum int64
	for i := range m.slots {
		if int64(i) != m.at%meterSlots {
			sum += m.slots[i]
		}
	}
	full := min(m.at-m.began, meterSlots-1)
	if full == 0 {
		return float64(m.slots[m.at%meterSlots]) / meterSlot.Seconds()
	}
	return float64(sum) / (float64(full) * meterSlot.Seconds())
}

// humanRate is for reasons and events: three significant digits are plenty.
func humanRate(r float64) string {
	units := []string{"B/s", "kB/s", "MB/s", "GB/s"}
	i := 0
	for r >= 999.5 && i < len(units)-1 {
		r /= 1000
		i++
	}
	if math.Round(r) >= 100 || i == 0 {
		return fmt.Sprintf("%.0f %s", r, units[i])
	}
	return fmt.Sprintf("%.3g %s", r, units[i])
}
