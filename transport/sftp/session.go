package sftp

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

const (
	// smallChunk is what every server sends in answer to one request, in bytes
	// (draft-ietf-secsh-filexfer-02 §3); largeChunk is what OpenSSH's from
	// version 8.5 on do, which have the extension limits@openssh.com. Where a
	// server sends less, the rest is asked for again.
	smallChunk, largeChunk = 32 << 10, 255 << 10
	// maxAnswer is the longest answer but content there may be, in bytes.
	maxAnswer = 64 << 10
)

// session is an SFTP session that reads files. Many requests may be under way;
// content goes from the connection to where it is wanted without a stop.
type session struct {
	// chunk is how much to ask for at once, in bytes.
	chunk int
	// ended is closed when the session has.
	ended chan struct{}
	// queued has an element when queue isn't empty.
	queued chan struct{}

	mu    sync.Mutex
	last  uint32 // request's number
	calls map[uint32]*call
	// queue are the requests that weren't sent yet: no more than there are
	// calls.
	queue []byte
	err   error // why it ended
}

// call is a request and its answer.
type call struct {
	// into takes the content of an answer of kindData.
	into []byte
	// answered is closed when what follows is set.
	answered chan struct{}
	kind     byte
	n        int    // bytes of content
	rest     []byte // of other answers
	err      error
}

// newSession starts a session on a pipe to an SFTP server. It ends, with all
// its calls, when r does. Whoever has the pipe must end both sides then.
func newSession(r io.Reader, w io.Writer) (*session, error) {
	s := &session{chunk: smallChunk, ended: make(chan struct{}), queued: make(chan struct{}, 1), calls: map[uint32]*call{}}
	if _, err := w.Write(appendMessage(nil, initRequest{version})); err != nil {
		return nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if head[4] != kindVersion {
		return nil, errGarbled
	}
	rest, err := readAnswer(r, int64(binary.BigEndian.Uint32(head[:]))-1)
	if err != nil {
		return nil, err
	}
	large, err := parseVersion(rest, "limits@openssh.com")
	if err != nil {
		return nil, err
	}
	if large {
		s.chunk = largeChunk
	}
	go func() { s.end(s.receive(r)) }()
	go func() {
		if err := s.send(w); err != nil {
			s.end(err)
		}
	}()
	return s, nil
}

// readAnswer reads the rest of an answer that is no content.
func readAnswer(r io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > maxAnswer {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", errGarbled, length, maxAnswer)
	}
	b := make([]byte, length)
	_, err := io.ReadFull(r, b)
	return b, err
}

// ask sends the request made for a number, and doesn't wait for anything.
// Content goes to into, which the call keeps until it is answered.
func (s *session) ask(into []byte, request func(id uint32) any) *call {
	c := &call{into: into, answered: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		c.err = s.err
		close(c.answered)
		return c
	}
	s.last++
	s.calls[s.last] = c
	s.queue = appendMessage(s.queue, request(s.last))
	select {
	case s.queued <- struct{}{}:
	default: // the sender will look
	}
	return c
}

// send sends what is queued, all of it at once.
func (s *session) send(w io.Writer) error {
	var spare []byte
	for {
		select {
		case <-s.queued:
		case <-s.ended:
			return nil
		}
		s.mu.Lock()
		requests := s.queue
		s.queue = spare[:0]
		s.mu.Unlock()
		if _, err := w.Write(requests); err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		spare = requests
	}
}

// receive gives answers to those who asked, until there are no more.
func (s *session) receive(r io.Reader) error {
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		length, kind, id := binary.BigEndian.Uint32(head), head[4], binary.BigEndian.Uint32(head[5:])
		// From here on the call is ours: should the sender end the session
		// meanwhile, the call still ends here, once nothing writes to into.
		s.mu.Lock()
		c := s.calls[id]
		delete(s.calls, id)
		s.mu.Unlock()
		if c == nil {
			return fmt.Errorf("%w: it answers what wasn't asked", errGarbled)
		}
		c.err = c.answer(r, kind, int64(length)-5)
		close(c.answered)
		if c.err != nil {
			return c.err
		}
	}
}

// answer reads an answer's rest, which is length bytes.
func (c *call) answer(r io.Reader, kind byte, length int64) (err error) {
	c.kind = kind
	if kind != kindData {
		if c.rest, err = readAnswer(r, length); err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return err
		}
	} else {
		var head [4]byte
		if _, err = io.ReadFull(r, head[:]); err == nil {
			n := int64(binary.BigEndian.Uint32(head[:]))
			if n != length-4 || n == 0 || n > int64(len(c.into)) {
				return fmt.Errorf("%w: %d bytes of content where up to %d were asked for", errGarbled, n, len(c.into))
			}
			c.n, err = io.ReadFull(r, c.into[:n])
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// end ends the session, and all calls with err but one that is being answered.
func (s *session) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = err
	for _, c := range s.calls {
		c.err = err
		close(c.answered)
	}
	clear(s.calls)
	close(s.ended)
}

// result waits for the answer and returns what follows its number. Another kind
// of answer is an error: the status that the server sent instead, or what is
// wrong.
func (c *call) result(kind byte) ([]byte, error) {
	<-c.answered
	switch {
	case c.err != nil:
		return nil, c.err
	case c.kind == kind:
		return c.rest, nil
	case c.kind != kindStatus:
		return nil, fmt.Errorf("%w: it is of kind %d, not %d", errGarbled, c.kind, kind)
	}
	return nil, parseStatus(c.rest)
}

// stat asks about a file, or what a symbolic link leads to.
func (s *session) stat(path string) (attrs, error) {
	return s.askStat(path).attrs()
}

func (s *session) askStat(path string) *call {
	return s.ask(nil, func(id uint32) any { return statRequest{id, path} })
}

func (c *call) attrs() (attrs, error) {
	b, err := c.result(kindAttrs)
	if err != nil {
		return attrs{}, err
	}
	return parseAttrs(b)
}

// file is an open file.
type file struct {
	session *session
	handle  string
	attrs   attrs
}

// open opens a file. Its size is asked for in the same round trip: once the
// requests for content are out, every other answer waits behind them.
func (s *session) open(path string) (*file, error) {
	stat := s.askStat(path)
	open := s.ask(nil, func(id uint32) any { return openRequest{ID: id, Path: path, Mode: forReading} })
	b, err := open.result(kindHandle)
	if err != nil {
		return nil, err
	}
	f := &file{session: s}
	if f.handle, err = parseHandle(b); err != nil {
		return nil, err
	}
	if f.attrs, err = stat.attrs(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// read asks for content, as much as into takes.
func (f *file) read(into []byte, offset int64) *call {
	return f.session.ask(into, func(id uint32) any {
		return readRequest{id, f.handle, uint64(offset), uint32(len(into))}
	})
}

// close has the server close the file, and doesn't wait for that: it was only
// read.
func (f *file) close() {
	f.session.ask(nil, func(id uint32) any { return closeRequest{id, f.handle} })
}
