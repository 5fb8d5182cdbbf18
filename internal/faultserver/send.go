package faultserver

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
)

const (
	// blockSize is how much content is generated and written at once: large
	// enough for few system calls, small enough for a processor's cache.
	blockSize = 256 << 10
	// fileBlock is how much of a file the kernel is told to send at once.
	fileBlock = 4 << 20
)

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// errDied says that the server was killed under an answer.
var errDied = errors.New("faultserver: the server has died")

// writerFunc makes an io.Writer of a function.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// send copies the span of the blob to out, which leads to a.write. The cheapest
// way there is chosen anew for every block, as limits may change meanwhile.
func (a *answer) send(out io.Writer, s span) error {
	content := a.blob.Content
	var file *os.File
	if path, ok := content.(File); ok {
		var err error
		if file, err = os.Open(string(path)); err != nil {
			panic(http.ErrAbortHandler)
		}
		defer file.Close()
		content = file
	}
	memory, inMemory := content.(Bytes)
	_, direct := out.(writerFunc)
	block := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(block)
	for s.length > 0 {
		var n int64
		var err error
		switch {
		case file != nil && direct && a.fault.Lie == nil && a.pacer.quantum() == 0:
			n, err = a.sendFile(file, s)
		case inMemory && a.fault.Lie == nil:
			n = min(s.length, fileBlock)
			_, err = out.Write(memory[s.offset : s.offset+n])
		default:
			n = min(s.length, blockSize)
			err = a.sendBlock(out, content, block[:n], s.offset)
		}
		if err != nil {
			return err
		}
		s.offset, s.length = s.offset+n, s.length-n
	}
	return nil
}

// sendBlock reads one block, lies about it if told to, and writes it.
func (a *answer) sendBlock(out io.Writer, content io.ReaderAt, p []byte, off int64) error {
	if n, err := content.ReadAt(p, off); n < len(p) {
		return err
	}
	if a.fault.Lie != nil {
		a.fault.Lie.apply(p, off, a.blob.Size, a.request)
	}
	_, err := out.Write(p)
	return err
}

// sendFile has the kernel send a block of a file.
func (a *answer) sendFile(file *os.File, s span) (int64, error) {
	n, last, err := a.allow(min(s.length, fileBlock))
	if err != nil {
		return 0, err
	}
	if _, err := file.Seek(s.offset, io.SeekStart); err != nil {
		return 0, err
	}
	sent, err := io.CopyN(a.w, file, n)
	return sent, a.account(sent, last, err)
}

// write sends body bytes as the limits and the fault allow; everything but
// files goes through it.
func (a *answer) write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n := int64(len(p))
		quantum := a.pacer.quantum()
		if quantum > 0 {
			n = min(n, int64(quantum))
		}
		n, last, err := a.allow(n)
		if err != nil {
			return total, err
		}
		if quantum > 0 {
			if err := a.pacer.wait(a.ctx, int(n)); err != nil {
				return total, err
			}
		}
		sent, err := a.w.Write(p[:n])
		if quantum > 0 && err == nil {
			err = a.flush()
		}
		total += sent
		if err := a.account(int64(sent), last, err); err != nil {
			return total, err
		}
		p = p[sent:]
	}
	return total, nil
}

// allow is how many of the next n bytes may be sent before something breaks,
// and whether the server dies with the last of them.
func (a *answer) allow(n int64) (granted int64, last bool, err error) {
	if a.left == 0 {
		a.breakOff()
	}
	granted, last = a.server.budget.take(min(n, a.left))
	if granted == 0 {
		return 0, last, errDied
	}
	return granted, last, nil
}

// account notes bytes sent, and kills the server after its last ones.
func (a *answer) account(sent int64, last bool, err error) error {
	a.entry.bytes.Add(sent)
	a.left -= sent
	if last {
		a.flush()
		a.server.Kill()
		return errDied
	}
	return err
}

func (a *answer) flush() error { return http.NewResponseController(a.w).Flush() }

// breakOff plays the fault that shows after Fault.After bytes. It doesn't
// return.
func (a *answer) breakOff() {
	a.flush()
	switch {
	case a.fault.Reset == ResetBody:
		a.abortWithReset()
	case a.fault.Body == BodyStall:
		<-a.ctx.Done()
	}
	panic(http.ErrAbortHandler)
}
