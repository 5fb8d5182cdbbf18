package faultserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// Options says what a [Server] serves, how fast, and what is wrong with it. The
// Server's methods change most of it later.
type Options struct {
	// Addr is the TCP address to listen on; empty means 127.0.0.1:0.
	Addr string
	// Blobs are what is served.
	Blobs []Blob
	// Tags are the tags known at /v2/NAME/manifests/TAG, whatever the NAME.
	Tags map[string]digest.Digest

	// Rate is the most body bytes a second the server sends on all
	// connections together, and ConnRate on each; zero is no limit. A rate
	// is exact over seconds, bursts are at most 64 KiB, and writes are small
	// enough for a hundred a second. Headers are free.
	Rate, ConnRate int64
	// Latency is waited before the first byte of every answer.
	Latency time.Duration
	// DieAfter kills the server, as [Server.Kill] does, once it has sent so
	// many body bytes in total; zero is never.
	DieAfter int64

	// Faults apply to every request, BlobFaults to those for one blob: see
	// [Server.SetFaults] and [Server.SetBlobFaults].
	Faults     []Fault
	BlobFaults map[digest.Digest][]Fault
}

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	http    *http.Server
	addr    string
	cancel  context.CancelFunc
	latency time.Duration
	rate    bucket

	mu         sync.Mutex
	connRate   int64
	blobs      map[string]Blob // by encoded digest
	tags       map[string]digest.Digest
	faults     *faults
	blobFaults map[digest.Digest]*faults
	listener   net.Listener // nil while dead
	conns      map[*conn]struct{}
	closed     bool

	budget budget
	ledger ledger
}

// New starts a server.
func New(opts Options) (*Server, error) {
	s := &Server{
		addr:       opts.Addr,
		latency:    opts.Latency,
		connRate:   opts.ConnRate,
		blobs:      make(map[string]Blob),
		tags:       make(map[string]digest.Digest),
		faults:     newFaults(slices.Clone(opts.Faults)),
		blobFaults: make(map[digest.Digest]*faults),
		conns:      make(map[*conn]struct{}),
		budget:     budget{left: -1},
	}
	if s.addr == "" {
		s.addr = "127.0.0.1:0"
	}
	s.Add(opts.Blobs...)
	for tag, d := range opts.Tags {
		s.Tag(tag, d)
	}
	for d, list := range opts.BlobFaults {
		s.SetBlobFaults(d, list...)
	}
	s.SetRate(opts.Rate)
	if opts.DieAfter > 0 {
		s.DieAfter(opts.DieAfter)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withConn,
		ReadHeaderTimeout: time.Minute,
	}
	if err := s.listen(); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// listen opens the listener and serves it, the first time or again.
func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("faultserver: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.listener != nil {
		l.Close()
		return errors.New("faultserver: revive: the server is alive or closed")
	}
	s.addr = l.Addr().String()
	s.listener = l
	go s.http.Serve(&listener{TCPListener: l.(*net.TCPListener), server: s})
	return nil
}

// URL is the server's base URL, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.Host() }

// Host is the host and port of the server's URL.
func (s *Server) Host() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// BlobURL is the URL of a blob in the form /ALGORITHM/ENCODED.
func (s *Server) BlobURL(d digest.Digest) string {
	return s.URL() + "/" + d.Algorithm().String() + "/" + d.Encoded()
}

// Add serves more blobs. One of the same digest replaces the one before.
func (s *Server) Add(blobs ...Blob) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, blob := range blobs {
		s.blobs[blob.Digest.Encoded()] = blob
	}
}

// Tag makes tag name the blob d at /v2/NAME/manifests/.
func (s *Server) Tag(tag string, d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[tag] = d
}

// SetFaults replaces the faults of the whole server, those of pings, unknown
// paths and connections included. Of several, the first applies that matches
// the request and isn't used up; none makes the server honest.
func (s *Server) SetFaults(list ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = newFaults(slices.Clone(list))
}

// SetBlobFaults replaces the faults of requests for one blob. Those of the
// whole server only apply to it where none of these does: an empty Fault makes
// one blob honest, an empty list leaves it to the server's.
func (s *Server) SetBlobFaults(d digest.Digest, list ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobFaults[d] = newFaults(slices.Clone(list))
}

// SetRate changes Options.Rate for what is sent from now on.
func (s *Server) SetRate(bytesPerSecond int64) { s.rate.setRate(bytesPerSecond) }

// DieAfter kills the server once n more body bytes were sent; at once where n
// isn't positive.
func (s *Server) DieAfter(n int64) {
	s.budget.set(max(0, n))
	if n <= 0 {
		s.Kill()
	}
}

// Kill resets every connection and closes the listener, so that connecting is
// refused, until [Server.Revive].
func (s *Server) Kill() {
	s.mu.Lock()
	l, conns := s.listener, make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.listener = nil
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
	for _, c := range conns {
		c.reset()
	}
}

// Revive lets a killed server listen again, at the same address and without
// DieAfter. It fails when the server is alive or its port was taken meanwhile.
func (s *Server) Revive() error {
	s.budget.set(-1)
	return s.listen()
}

// Close ends the server and every connection at once. What it recorded can
// still be read.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.Kill()
	return s.http.Close()
}

// algorithms are the digest algorithms recognised as a path element.
var algorithms = []string{"sha256", "sha384", "sha512", "blake3"}

// find is the blob a path asks for.
func (s *Server) find(path string) (Blob, bool) {
	elements := strings.Split(path, "/")
	last, before := elements[len(elements)-1], ""
	if len(elements) > 1 {
		before = elements[len(elements)-2]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before == "manifests" && elements[1] == "v2" {
		if d, ok := s.tags[last]; ok {
			blob, ok := s.blobs[d.Encoded()]
			return blob, ok
		}
	}
	algorithm, encoded, ok := strings.Cut(last, ":")
	if !ok {
		algorithm, encoded = before, last
	}
	blob, found := s.blobs[encoded]
	if found && (ok || slices.Contains(algorithms, algorithm)) && algorithm != blob.Digest.Algorithm().String() {
		return Blob{}, false
	}
	return blob, found
}

// faultFor is the fault r meets; blob is the zero Blob where it asks for none.
func (s *Server) faultFor(blob Blob, r *http.Request) Fault {
	s.mu.Lock()
	own, all := s.blobFaults[blob.Digest], s.faults
	s.mu.Unlock()
	if own != nil {
		if fault, ok := own.forRequest(r); ok {
			return fault
		}
	}
	fault, _ := all.forRequest(r)
	return fault
}

// budget is the number of bytes a server may yet send before it dies; negative
// is any number.
type budget struct {
	mu   sync.Mutex
	left int64
}

func (b *budget) set(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = n
}

// take grants up to n bytes, and reports whether they are the last.
func (b *budget) take(n int64) (granted int64, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 0 {
		return n, false
	}
	granted = min(n, b.left)
	b.left -= granted
	return granted, b.left == 0
}
