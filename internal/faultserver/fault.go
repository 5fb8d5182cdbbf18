package faultserver

import (
	"net/http"
	"sync"
	"time"
)

// Fault says how an answer departs from an honest one. The zero Fault departs
// in nothing; fields combine wherever that makes sense (slow and lying, 200
// for a range and endless). Fields that replace the answer win in this order:
// Reset before the answer, StallHeaders, Redirect, Status, Ranges, and the rest.
type Fault struct {
	// Match limits the fault to the requests it returns true for; nil is all.
	Match func(*http.Request) bool
	// First limits the fault to the first so many requests that match; zero
	// is no limit.
	First int

	// Latency is waited before the first byte of the answer.
	Latency time.Duration
	// StallHeaders takes the request and never answers.
	StallHeaders bool
	// Reset is the stage at which the connection is reset (TCP RST).
	Reset Stage
	// Redirect answers with a redirection.
	Redirect *Redirect

	// Status answers with this status and no content: 401, 403, 404, 429,
	// 500, 503, …
	Status int
	// RetryAfter is sent with Status, rounded up to seconds, where positive.
	RetryAfter time.Duration
	// RetryAfterDate sends RetryAfter as an HTTP date (RFC 9110 §10.2.3).
	RetryAfterDate bool
	// Challenge is sent as WWW-Authenticate with Status.
	Challenge string

	// Ranges is what becomes of requests for a range.
	Ranges RangeFault
	// Gzip sends the selected bytes gzipped, with Content-Encoding: gzip.
	Gzip bool
	// Lie makes bytes wrong.
	Lie *Lie
	// Body is how the body departs from the one announced.
	Body BodyFault
	// After is the number of body bytes sent before Body's or Reset's fault
	// shows; the announced length for [BodyTruncated].
	After int64
	// Rate is the most bytes a second sent in each answer; zero is no limit.
	Rate int64
}

// Stage is a moment in the life of a request.
type Stage int

// The stages at which a connection may be reset.
const (
	// ResetNever leaves the connection alone.
	ResetNever Stage = iota
	// ResetAccept resets a connection as it is accepted. There is no request
	// yet: Match isn't asked, First counts connections, and it only works as
	// a fault of the whole server.
	ResetAccept
	// ResetRequest resets once the request was read.
	ResetRequest
	// ResetHeaders resets in the middle of the answer's headers.
	ResetHeaders
	// ResetBody resets after Fault.After bytes of the body.
	ResetBody
)

// BodyFault is a way for a body not to be the one announced.
type BodyFault int

// The faults of bodies.
const (
	// BodyWhole sends what was announced.
	BodyWhole BodyFault = iota
	// BodyShort announces the right Content-Length and closes the connection
	// after Fault.After bytes.
	BodyShort
	// BodyTruncated announces, and sends, only Fault.After bytes. A 206 keeps
	// the Content-Range of what was asked.
	BodyTruncated
	// BodyEndless announces no length and never stops: after the right bytes
	// come pseudo-random ones.
	BodyEndless
	// BodyStall sends Fault.After bytes and then nothing more, leaving the
	// connection open.
	BodyStall
)

// RangeFault is a way to answer a request for a range other than with it.
type RangeFault int

// The faults of ranges. They only show on requests with a Range that an honest
// server would have answered 206.
const (
	// RangesServed serves them.
	RangesServed RangeFault = iota
	// RangesIgnored answers 200 with the whole blob.
	RangesIgnored
	// RangesOther answers 206 with the bytes, and the Content-Range, of
	// another range.
	RangesOther
	// RangesMalformed answers 206 with a Content-Range that isn't one.
	RangesMalformed
	// RangesMissing answers 206 without a Content-Range.
	RangesMissing
	// RangesMultipart answers 206 with multipart/byteranges of one part.
	RangesMultipart
	// RangesWrongTotal answers 206 with a Content-Range that has the blob one
	// byte longer than it is.
	RangesWrongTotal
	// RangesUnsatisfiable answers 416.
	RangesUnsatisfiable
)

// Redirect answers with a redirection that keeps the path and query.
type Redirect struct {
	// To is the base URL redirected to, without a path; empty is this server.
	To string
	// Hops is the number of redirections within this server, each to a new
	// URL, before the one to To. Negative never gets there. Zero with an
	// empty To redirects to the very same URL for ever.
	Hops int
	// Status is the status sent; zero means 307.
	Status int
}

// Lie says which bytes of a blob are wrong. Every one of them is.
type Lie struct {
	// Offset is where the wrong bytes begin; negative counts from the end.
	Offset int64
	// Length is how many there are; zero means to the end.
	Length int64
	// Seed chooses the wrong bytes. Servers with the same seed tell the same
	// lie.
	Seed uint64
	// Fresh tells another lie at every request.
	Fresh bool
}

// apply makes those of p wrong that the lie covers; p lies at off in a blob of
// size bytes.
func (l *Lie) apply(p []byte, off, size int64, request uint64) {
	start, end := l.Offset, size
	if start < 0 {
		start = max(0, size+start)
	}
	if l.Length > 0 {
		end = min(end, start+l.Length)
	}
	seed := Random(l.Seed)
	if l.Fresh {
		seed = Random(mix(l.Seed) + request)
	}
	for i := max(start, off); i < min(end, off+int64(len(p))); i++ {
		// Adding 1 to 255 never gives the byte back.
		p[i-off] += byte(1 + seed.word(uint64(i))%255)
	}
}

// faults are tried in order: the first that matches and isn't used up applies.
type faults struct {
	mu   sync.Mutex
	list []Fault
	met  []int
}

func newFaults(list []Fault) *faults {
	return &faults{list: list, met: make([]int, len(list))}
}

// next is the fault for a request, if there is one.
func (f *faults) next(applies func(*Fault) bool) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		fault := &f.list[i]
		if fault.First > 0 && f.met[i] >= fault.First || !applies(fault) {
			continue
		}
		f.met[i]++
		return *fault, true
	}
	return Fault{}, false
}

// forRequest is the fault that r meets.
func (f *faults) forRequest(r *http.Request) (Fault, bool) {
	return f.next(func(fault *Fault) bool {
		return fault.Reset != ResetAccept && (fault.Match == nil || fault.Match(r))
	})
}

// resetsAccept reports whether a new connection is to be reset.
func (f *faults) resetsAccept() bool {
	_, ok := f.next(func(fault *Fault) bool { return fault.Reset == ResetAccept })
	return ok
}
