package resolve

import (
	"context"
	"crypto/tls"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// Patience is how long somebody who is asked may take. The zero value has no end.
type Patience struct {
	// Silence is how long nothing may be heard while an answer is waited for. A
	// request that begins, and each step on its way (a name found in DNS, a
	// connection, its TLS), starts it anew, so that who is far away has as much
	// of it for each round trip, and who has stopped has it once. It doesn't run
	// while an answer is read and before the next request. Only requests of
	// net/http are heard; 0 is no limit.
	Silence time.Duration
	// Whole is how long it may take in all, whatever is heard; 0 is no limit.
	Whole time.Duration
}

// wholes is how much longer than its silence an answer may take in all.
const wholes = 5

// PatienceFor is the patience with those who may be silent that long: five times
// as long in all.
func PatienceFor(silence time.Duration) Patience {
	return Patience{Silence: silence, Whole: wholes * silence}
}

// Limit returns a context that ends when patience does. Its cause then is a
// [transport.ErrTemporary] about where. The caller has to call the function.
func (p Patience) Limit(ctx context.Context, where string) (context.Context, context.CancelFunc) {
	limited, cancel := context.WithCancelCause(ctx)
	after := func(d time.Duration) *time.Timer {
		return time.AfterFunc(d, func() { cancel(transport.Errorf(transport.ErrTemporary, where, "no answer in %v", d)) })
	}
	stop := func() bool { return false }
	if p.Whole > 0 {
		stop = after(p.Whole).Stop
	}
	if p.Silence <= 0 {
		return limited, func() { stop(); cancel(nil) }
	}
	e := &ear{silence: p.Silence, timer: after(p.Silence)}
	return httptrace.WithClientTrace(limited, e.trace()), func() { e.end(); stop(); cancel(nil) }
}

// ear hears of requests and keeps the timer of their silence.
type ear struct {
	silence time.Duration

	mu    sync.Mutex
	timer *time.Timer
	open  int // requests without an answer
	ended bool
}

// heard says that more requests (or fewer) have no answer now, and that there was
// a sign of life.
func (e *ear) heard(more int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.open
	e.open = max(e.open+more, 0)
	switch {
	case e.ended: // what dials may outlive the request
	case e.open > 0:
		e.timer.Reset(e.silence)
	case before > 0:
		e.timer.Stop()
	}
}

func (e *ear) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.timer.Stop()
}

// trace is called from many goroutines.
func (e *ear) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { e.heard(1) },
		GotConn: func(httptrace.GotConnInfo) { e.heard(0) },
		DNSDone: func(httptrace.DNSDoneInfo) { e.heard(0) },
		// A name may have several addresses: that one can't be dialled ends
		// nothing.
		ConnectDone: func(string, string, error) { e.heard(0) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				e.heard(-1)
				return
			}
			e.heard(0)
		},
		GotFirstResponseByte: func() { e.heard(-1) },
	}
}
