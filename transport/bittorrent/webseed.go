package bittorrent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httprange"
)

// webseedRequests is how many requests a web seed is sent at once.
const webseedRequests = 3

// webseed is a web server with the files of a torrent (BEP 19). It supplies
// blocks as peers do, a part of a piece with each request. Its fields are under
// the node's lock.
type webseed struct {
	sw       *swarm
	url      string
	wake     chan struct{}
	banned   bool
	failed   error // what its last request came to
	failures int   // in a row
	retry    time.Time
}

// addWebseed takes the URL of a web seed. The node's lock is held.
func (sw *swarm) addWebseed(at string) {
	if sw.webseeds[at] != nil || len(sw.webseeds) >= maxNamed {
		return
	}
	w := &webseed{sw: sw, url: at, wake: make(chan struct{}, 1)}
	sw.webseeds[at] = w
	if sw.node.options.HTTP == nil {
		return
	}
	if _, err := webURL(at); err != nil { // torrent files are read whatever they name
		w.banned, w.failed = true, err
		return
	}
	for range webseedRequests {
		sw.start(w.serve)
	}
}

// webseedWords says what became of web seeds. The node's lock is held.
func (sw *swarm) webseedWords() []string {
	const few = 3
	var words []string
	switch {
	case len(sw.webseeds) == 0:
		return nil
	case sw.node.options.HTTP == nil:
		return []string{fmt.Sprintf("%d web seeds (switched off)", len(sw.webseeds))}
	}
	for _, w := range sw.webseeds {
		if w.failed != nil && len(words) < few {
			words = append(words, fmt.Sprintf("web seed %v", w.failed))
		}
	}
	return append([]string{fmt.Sprintf("%d web seeds", len(sw.webseeds))}, words...)
}

func (w *webseed) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// ban implements [supplier].
func (w *webseed) ban(why string) {
	w.banned, w.failed = true, fmt.Errorf("%s: %s", transport.Redact(w.url), why)
	w.sw.node.options.Log.Info("web seed banned", "url", transport.Redact(w.url), "why", why)
}

// run is consecutive blocks of a piece that a web seed was asked for.
type run struct {
	p           *piece
	first, next int // blocks; those before next were sent
	end         int
}

// serve makes one request after the other until the torrent is left.
func (w *webseed) serve() {
	select {
	case <-w.sw.ready:
	case <-w.sw.ctx.Done():
		return
	}
	for w.sw.ctx.Err() == nil {
		r, wait := w.next(time.Now())
		if r == nil {
			select {
			case <-w.wake:
			case <-time.After(wait):
			case <-w.sw.ctx.Done():
			}
			continue
		}
		err := w.get(r)
		w.done(r, err)
	}
}

// next returns what to ask for, or how long to wait for that at most.
func (w *webseed) next(now time.Time) (r *run, wait time.Duration) {
	sw := w.sw
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if w.banned {
		return nil, time.Hour
	}
	if now.Before(w.retry) {
		return nil, w.retry.Sub(now)
	}
	sw.order(func(p *piece, _ int) bool {
		if p.free == 0 || !p.open(w) || !sw.hashKnown(p.index) {
			return true
		}
		free := func(b int) bool { return b < len(p.slots) && !p.slots[b].here && p.slots[b].asked == 0 }
		first := 0
		for !free(first) {
			first++
		}
		r = &run{p: p, first: first, next: first, end: first}
		for ; free(r.end); r.end++ {
			p.ask(r.end, w, now)
		}
		return false
	})
	if r != nil {
		w.wakeUp() // the next of its requests
	}
	return r, time.Second
}

// done takes back what of a run didn't come.
func (w *webseed) done(r *run, err error) {
	sw := w.sw
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	for b := r.next; b < r.end; b++ {
		r.p.unask(b)
	}
	switch {
	case err == nil:
		w.failures = 0
		if !w.banned {
			w.failed = nil
		}
		return
	case sw.ctx.Err() != nil || errors.Is(err, errUnwanted):
	default:
		w.failed = err
		w.retry = time.Now().Add(reconnect << min(w.failures, 7))
		w.failures++
	}
	sw.release(w)
	sw.fillAll()
}

// errUnwanted ends a request for blocks that nobody wants any more.
var errUnwanted = errors.New("not wanted any more")

// get asks for a run and takes what is sent.
func (w *webseed) get(r *run) error {
	ctx, cancel := context.WithCancelCause(w.sw.ctx)
	defer cancel(nil)
	patience := time.AfterFunc(snubTime, func() {
		cancel(fmt.Errorf("%s: sent nothing for %v", transport.Redact(w.url), snubTime))
	})
	defer patience.Stop()
	start := int64(r.p.index) * w.sw.pieceLength
	body := &stretch{w: w, ctx: ctx, at: start + int64(r.first)*block, end: start + min(r.p.size, int64(r.end)*block)}
	defer body.close()
	buf := make([]byte, block)
	for b := r.first; b < r.end; b++ {
		part := buf[:r.p.blockSize(b)]
		if _, err := io.ReadFull(body, part); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		if limit := w.sw.node.download; limit != nil {
			patience.Stop()
			if err := limit.WaitN(ctx, len(part)); err != nil {
				return err
			}
		}
		patience.Reset(snubTime)
		if err := w.deliver(r, part); err != nil {
			return err
		}
	}
	return nil
}

// deliver takes the next block of a run.
func (w *webseed) deliver(r *run, content []byte) error {
	sw := w.sw
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	if w.banned {
		return errUnwanted
	}
	r.p.unask(r.next)
	sw.deliver(r.p, r.next, content, w)
	r.next++
	if r.p.wants == 0 {
		return errUnwanted
	}
	return nil
}

// stretch reads a part of the torrent from the files of a web seed. Padding isn't
// asked for (BEP 47).
type stretch struct {
	w       *webseed
	ctx     context.Context
	at, end int64
	body    io.ReadCloser // of the file that at is in, or nil
	until   int64         // where it ends
}

// Read implements [io.Reader].
func (s *stretch) Read(b []byte) (int, error) {
	if s.at == s.end {
		return 0, io.EOF
	}
	if s.body == nil || s.at == s.until {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	n, err := s.body.Read(b[:min(int64(len(b)), s.until-s.at)])
	s.at += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, noEOF(err)
}

// open asks for what there is of the file, or padding, that is next.
func (s *stretch) open() error {
	s.close()
	sw := s.w.sw
	f, in := sw.fileAt(s.at)
	if !in {
		s.until = s.end
		if next := sw.nextFile(s.at); next >= 0 {
			s.until = min(next, s.end)
		}
		s.body = io.NopCloser(zeroReader{})
		return nil
	}
	s.until = min(s.end, f.offset+f.length)
	body, err := httprange.Open(s.ctx, sw.node.http, httprange.Request{
		URL: s.w.fileURL(f), Size: f.length, Offset: s.at - f.offset, Length: s.until - s.at, Floor: sw.node.peers.floor(),
	})
	if err != nil {
		return err
	}
	s.body = body
	return nil
}

func (s *stretch) close() {
	if s.body != nil {
		s.body.Close()
		s.body = nil
	}
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// isSingle reports whether the torrent is one file rather than a directory.
// Where there is no v1 part to say so, it is if its only file has its name (BEP
// 52).
func (sw *swarm) isSingle() bool {
	if sw.info.HasV1() {
		return len(sw.info.Files) == 0
	}
	return len(sw.files) == 1 && sw.files[0].path == sw.info.BestName()
}

// fileURL is where a web seed has a file: the URL itself, or below it.
func (w *webseed) fileURL(f entry) string {
	single := w.sw.isSingle()
	if single && !strings.HasSuffix(w.url, "/") {
		return w.url
	}
	at := strings.TrimSuffix(w.url, "/") + "/" + url.PathEscape(w.sw.info.BestName())
	if single {
		return at
	}
	for part := range strings.SplitSeq(f.path, "/") {
		at += "/" + url.PathEscape(part)
	}
	return at
}
