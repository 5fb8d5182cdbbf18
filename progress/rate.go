package progress

import (
	"math"
	"time"
)

// pace is how fast a pull is going.
type pace struct {
	rate    float64       // bytes a second at present
	eta     time.Duration // until the end; negative where it can't be told
	elapsed time.Duration
	average float64 // bytes a second from the start
}

// meter follows the bytes that came over the network.
type meter struct {
	start time.Time
	last  time.Time
	bytes int64
	// The rate is shown as of lately; the end is told from a longer memory,
	// or it would jump about.
	lately, longer ewma
}

// The memories of the two averages, in seconds.
const (
	latelyMemory = 2
	longerMemory = 10
)

// add notes that bytes had come at t.
func (m *meter) add(t time.Time, bytes int64) {
	if m.last.IsZero() {
		m.last = m.start
	}
	seconds := t.Sub(m.last).Seconds()
	if seconds <= 0 {
		return
	}
	rate := float64(max(0, bytes-m.bytes)) / seconds
	m.lately.add(rate, seconds, latelyMemory)
	m.longer.add(rate, seconds, longerMemory)
	m.last, m.bytes = t, bytes
}

// pace is that of the pull at s.
func (m *meter) pace(s Snapshot) pace {
	p := pace{rate: m.lately.value(), eta: -1, elapsed: s.Time.Sub(m.start)}
	if seconds := p.elapsed.Seconds(); seconds > 0 {
		p.average = float64(s.Network) / seconds
	}
	// Before a second is over an estimate says more about connecting than
	// about the pull.
	if rate := m.longer.value(); p.elapsed >= time.Second && rate >= 1 && s.Size > s.Done {
		seconds := min(float64(s.Size-s.Done)/rate, maxETA.Seconds())
		p.eta = time.Duration(seconds * float64(time.Second))
	}
	return p
}

// ewma is an exponentially weighted moving average over time. The weight is
// that of all samples so far, so that the average is right from the first one
// on.
type ewma struct {
	sum, weight float64
}

func (e *ewma) add(sample, seconds, memory float64) {
	keep := math.Exp(-seconds / memory)
	e.sum = e.sum*keep + sample*(1-keep)
	e.weight = e.weight*keep + (1 - keep)
}

func (e *ewma) value() float64 {
	if e.weight == 0 {
		return 0
	}
	return e.sum / e.weight
}
