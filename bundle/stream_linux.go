package bundle

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

const (
	// chunkSize and chunkCount bound the inflated data on its way to the disk:
	// memory is their product however large the layer.
	chunkSize  = 256 << 10
	chunkCount = 16
)

// errStopped is how a stream ends that nobody reads any more.
var errStopped = errors.New("stream stopped")

// chunks lends out the buffers of a stream. Those not lent wait in it.
type chunks chan []byte

func newChunks() chunks {
	c := make(chunks, chunkCount)
	for range chunkCount {
		c <- nil // made when first lent: most streams never need them all
	}
	return c
}

// stream runs a layer's decoder and the hash of what comes out of it, each in a
// goroutine of its own, ahead of whoever reads it. On two cores that leaves one
// to the decoder alone, which is the slowest of the three.
type stream struct {
	free chunks
	out  chan []byte
	stop chan struct{}
	wg   sync.WaitGroup
	err  error // why out was closed; valid once it was

	whole []byte // the chunk being read
	rest  []byte // what of it is unread
}

// newStream starts to decode. At most limit bytes may come out; the hash covers
// all that does. The caller reads to the end or fails to, then calls end.
func newStream(dec io.Reader, sum hash.Hash, limit int64, free chunks) *stream {
	s := &stream{free: free, out: make(chan []byte, chunkCount), stop: make(chan struct{})}
	decoded := make(chan []byte, chunkCount)
	s.wg.Go(func() {
		defer close(decoded)
		s.err = s.decode(dec, limit, decoded)
	})
	s.wg.Go(func() {
		defer close(s.out)
		for c := range decoded {
			sum.Write(c)
			s.out <- c // never blocks: it holds as many as there are
		}
	})
	return s
}

func (s *stream) decode(dec io.Reader, limit int64, decoded chan<- []byte) error {
	for {
		var c []byte
		select {
		case <-s.stop:
			return errStopped
		case c = <-s.free:
		}
		if c == nil {
			c = make([]byte, chunkSize)
		}
		n, err := fill(dec, c[:chunkSize])
		if limit -= int64(n); limit < 0 {
			s.free <- c
			return fmt.Errorf("%w: the layers unpack to more than the limit on their size (MaxBytes)", ErrLimit)
		}
		if n > 0 {
			decoded <- c[:n]
		} else {
			s.free <- c
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads until p is full. Unlike io.ReadFull it hands on the reader's own
// error, for a decoder's io.ErrUnexpectedEOF means that its input was cut short.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// Read returns the decoded bytes in order, then io.EOF once all were hashed.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		s.release()
		c, ok := <-s.out
		if !ok {
			if s.err != nil {
				return 0, s.err
			}
			return 0, io.EOF
		}
		s.whole, s.rest = c[:cap(c)], c
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) release() {
	if s.whole != nil {
		s.free <- s.whole
		s.whole, s.rest = nil, nil
	}
}

// end stops the goroutines, waits for them and takes back all chunks. A decoder
// that is waiting for its source holds it up; end the source's context first
// where that matters.
func (s *stream) end() {
	close(s.stop)
	s.release()
	for c := range s.out {
		s.free <- c[:cap(c)]
	}
	s.wg.Wait()
}
