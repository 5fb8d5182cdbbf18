package faultserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
)

// StatsPath is the path at which a server answers with its [Stats] as JSON.
// Requests for it meet no faults and aren't accounted for.
const StatsPath = "/_stats"

// Request is the account of one request.
type Request struct {
	// Time is when its headers had been read.
	Time time.Time `json:"time"`
	// Method, Path and Query are those of the request line.
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	// Digest is the blob asked for; empty where the path names none held.
	Digest digest.Digest `json:"digest,omitempty"`
	// Range is the Range header as it came.
	Range string `json:"range,omitempty"`
	// Offset and Length are the bytes of the blob asked for, clamped to it:
	// the whole blob without a satisfiable Range, none for a HEAD.
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
	// Authorization says that the header came, whatever was in it.
	Authorization bool `json:"authorization"`
	// Status is the status answered; zero where none was.
	Status int `json:"status"`
	// Bytes is the number of body bytes handed to the kernel so far; the
	// client may have taken fewer.
	Bytes int64 `json:"bytes"`
	// Done says that the answer is over, one way or another.
	Done bool `json:"done"`
}

// Stats is the account of a server.
type Stats struct {
	// URL is the server's.
	URL string `json:"url"`
	// Requests is the number of requests.
	Requests int `json:"requests"`
	// Bytes is the sum of Request.Bytes.
	Bytes int64 `json:"bytes"`
	// Asked is the sum of Request.Length: all bytes the requests asked for.
	Asked int64 `json:"asked"`
	// Authorizations is the number of requests with an Authorization header.
	Authorizations int `json:"authorizations"`
	// Statuses counts the answers by status.
	Statuses map[int]int `json:"statuses"`
	// Connections is the number accepted, OpenConnections of those open now,
	// and MaxConnections the most that ever were at once.
	Connections     int `json:"connections"`
	OpenConnections int `json:"openConnections"`
	MaxConnections  int `json:"maxConnections"`
	// Dead says that the server was killed and not revived, or closed.
	Dead bool `json:"dead"`
}

// ledger keeps the accounts.
type ledger struct {
	mu          sync.Mutex
	entries     []*entry
	connections int
	most        int
}

// entry is the account of a request while it runs; bytes is apart because it
// changes with every write.
type entry struct {
	request Request
	bytes   atomic.Int64
}

func (l *ledger) connected(open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections++
	l.most = max(l.most, open)
}

// enter opens the account of r, and numbers it.
func (l *ledger) enter(r *http.Request, blob Blob, asked span) (*entry, uint64) {
	e := &entry{request: Request{
		Time:          time.Now(),
		Method:        r.Method,
		Path:          r.URL.Path,
		Query:         r.URL.RawQuery,
		Digest:        blob.Digest,
		Range:         r.Header.Get("Range"),
		Authorization: r.Header.Get("Authorization") != "",
	}}
	if r.Method == http.MethodGet {
		e.request.Offset, e.request.Length = asked.offset, asked.length
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
	return e, uint64(len(l.entries))
}

func (l *ledger) answered(e *entry, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.request.Status = status
}

func (l *ledger) done(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.request.Done = true
}

// snapshot is the requests so far, in order of arrival.
func (l *ledger) snapshot() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := make([]Request, len(l.entries))
	for i, e := range l.entries {
		requests[i] = e.request
		requests[i].Bytes = e.bytes.Load()
	}
	return slices.Clip(requests)
}

// Requests returns the account of every request so far, in order of arrival.
func (s *Server) Requests() []Request { return s.ledger.snapshot() }

// Stats returns the account of the server so far.
func (s *Server) Stats() Stats {
	stats := Stats{URL: s.URL(), Statuses: make(map[int]int)}
	for _, r := range s.Requests() {
		stats.Requests++
		stats.Bytes += r.Bytes
		stats.Asked += r.Length
		if r.Authorization {
			stats.Authorizations++
		}
		if r.Status != 0 {
			stats.Statuses[r.Status]++
		}
	}
	s.ledger.mu.Lock()
	stats.Connections, stats.MaxConnections = s.ledger.connections, s.ledger.most
	s.ledger.mu.Unlock()
	s.mu.Lock()
	stats.OpenConnections, stats.Dead = len(s.conns), s.listener == nil
	s.mu.Unlock()
	return stats
}

// ResetStats forgets the requests and connections so far. The high-water mark
// begins again with the connections open now.
func (s *Server) ResetStats() {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	s.ledger.entries = nil
	s.ledger.connections, s.ledger.most = open, open
}

// serveStats answers at StatsPath.
func (s *Server) serveStats(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s.Stats())
}
