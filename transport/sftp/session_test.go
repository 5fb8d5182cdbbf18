package sftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	pkgsftp "github.com/pkg/sftp"
)

// pipeTo starts a session with a server made by serve.
func pipeTo(t *testing.T, serve func(net.Conn)) (*session, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer theirs.Close()
		serve(theirs)
	}()
	t.Cleanup(func() {
		ours.Close()
		<-served
	})
	return newSession(ours, ours)
}

// A server that isn't OpenSSH's: it has no limits@openssh.com, and sends 32 KiB
// at most, whatever is asked for.
func TestOtherServer(t *testing.T) {
	s, err := pipeTo(t, func(c net.Conn) {
		server, err := pkgsftp.NewServer(c, pkgsftp.ReadOnly())
		if err != nil {
			t.Error(err)
			return
		}
		if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.chunk != smallChunk {
		t.Errorf("it is asked for %d bytes at once", s.chunk)
	}
	content := make([]byte, 3_000_001)
	for i := range content {
		content[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, chunk := range map[string]int{"as much as it sends": smallChunk, "more than it sends": largeChunk} {
		t.Run(name, func(t *testing.T) {
			s.chunk = chunk
			f, err := s.open(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := (attrs{int64(len(content)), true}); f.attrs != want {
				t.Errorf("%+v, want %+v", f.attrs, want)
			}
			c := &conn{sftp: s, times: usual}
			c.hold() // one that nobody uses would be closed, and there is none to close
			r := newReader(t.Context(), c, f, "sftp://h/d", path, 1, f.attrs.size-1)
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[1:]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	var answer status
	if _, err := s.open(path + "x"); !errors.As(err, &answer) || answer.code != statusNoSuchFile {
		t.Errorf("a missing file: %v", err)
	}
}

// message is what a server sends: a length, and the rest.
func message(content ...byte) []byte {
	return append([]byte{0, 0, 0, byte(len(content))}, content...)
}

// hello is the first answer of a server without extensions.
var hello = message(kindVersion, 0, 0, 0, version)

func TestGarbledBeginning(t *testing.T) {
	for name, sent := range map[string][]byte{
		"another kind of message": message(kindData, 0, 0, 0, version),
		"another version":         message(kindVersion, 0, 0, 0, 6),
		"no version":              message(kindVersion, 0, 0),
		"nothing in it":           {0, 0, 0, 0, kindVersion},
		"half an extension":       message(kindVersion, 0, 0, 0, version, 0, 0, 0, 1, 'x'),
		"an extension too long":   message(kindVersion, 0, 0, 0, version, 255, 255, 255, 255, 'x'),
		"text":                    []byte("Welcome to this host\n"),
		"too long":                {0, 1, 0, 2, kindVersion},
		"cut off":                 hello[:7],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newSession(bytes.NewReader(sent), io.Discard); err == nil {
				t.Error("it is taken for SFTP")
			}
		})
	}
}

// What a server answers to a request for four bytes, the first of a session.
func TestGarbledAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		answer []byte
		want   error
		text   string
	}{
		"content":              {message(kindData, 0, 0, 0, 1, 0, 0, 0, 4, 'a', 'b', 'c', 'd'), nil, ""},
		"less content":         {message(kindData, 0, 0, 0, 1, 0, 0, 0, 2, 'a', 'b'), nil, ""},
		"no content":           {message(kindData, 0, 0, 0, 1, 0, 0, 0, 0), errGarbled, "0 bytes of content"},
		"more content":         {message(kindData, 0, 0, 0, 1, 0, 0, 0, 5, 'a', 'b', 'c', 'd', 'e'), errGarbled, "5 bytes of content"},
		"lengths that differ":  {message(kindData, 0, 0, 0, 1, 0, 0, 0, 3, 'a', 'b', 'c', 'd'), errGarbled, "3 bytes of content"},
		"another request's":    {message(kindData, 0, 0, 0, 2, 0, 0, 0, 4, 'a', 'b', 'c', 'd'), errGarbled, "wasn't asked"},
		"another kind":         {message(kindHandle, 0, 0, 0, 1, 0, 0, 0, 1, 'h'), errGarbled, "kind 102"},
		"half a status":        {message(kindStatus, 0, 0, 0, 1, 0), errGarbled, ""},
		"a status":             {message(kindStatus, 0, 0, 0, 1, 0, 0, 0, statusFailure, 0, 0, 0, 2, 'n', 'o', 0, 0, 0, 0), status{statusFailure, "no"}, ""},
		"a status, no text":    {message(kindStatus, 0, 0, 0, 1, 0, 0, 0, statusDenied), status{statusDenied, ""}, ""},
		"too short":            {[]byte{0, 0, 0, 4, kindStatus, 0, 0, 0, 1}, errGarbled, "the limit is"},
		"too long":             {[]byte{1, 0, 0, 0, kindStatus, 0, 0, 0, 1}, errGarbled, "the limit is 65536"},
		"cut off":              {message(kindData, 0, 0, 0, 1, 0, 0, 0, 4, 'a', 'b', 'c', 'd')[:15], errLost, ""},
		"cut off, as a status": {message(kindStatus, 0, 0, 0, 1, 0, 0, 0, 1)[:11], errLost, ""},
		"nothing":              {nil, errLost, ""},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			s, err := pipeTo(t, func(c net.Conn) {
				request := make([]byte, 100)
				for _, answer := range [][]byte{hello, test.answer} {
					if _, err := c.Read(request); err != nil {
						t.Error(err)
					}
					if _, err := c.Write(answer); err != nil {
						return // it has read enough
					}
				}
				<-asked
			})
			if err != nil {
				t.Fatal(err)
			}
			f := &file{session: s, handle: "h"}
			c := f.read(make([]byte, 4), 0)
			close(asked)
			_, err = c.result(kindData)
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err == nil && string(c.into[:c.n]) != "abcd"[:c.n] {
				t.Errorf("content %q", c.into)
			}
		})
	}
}

// Requests after the end of a session, and before, end with it.
func TestSessionEnds(t *testing.T) {
	s, err := pipeTo(t, func(c net.Conn) {
		request := make([]byte, 100)
		if _, err := c.Read(request); err != nil {
			t.Error(err)
		}
		if _, err := c.Write(hello); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(request); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.stat("x"); !errors.Is(err, errLost) {
			t.Errorf("got %v", err)
		}
	}
	<-s.ended
}

func TestParseAttrs(t *testing.T) {
	size, mode, owner := []byte{0, 0, 0, 0, 0, 0, 1, 0}, []byte{0, 0, 0o100644 >> 8, 0o100644 & 255}, make([]byte, 8)
	for name, test := range map[string]struct {
		sent []byte
		want attrs
		ok   bool
	}{
		"file":            {bytes.Join([][]byte{{0, 0, 0, hasSize | hasMode}, size, mode}, nil), attrs{256, true}, true},
		"and its owner":   {bytes.Join([][]byte{{0, 0, 0, hasSize | hasOwner | hasMode}, size, owner, mode}, nil), attrs{256, true}, true},
		"directory":       {bytes.Join([][]byte{{0, 0, 0, hasSize | hasMode}, size, {0, 0, 0o040755 >> 8, 0o040755 & 255}}, nil), attrs{256, false}, true},
		"and times":       {bytes.Join([][]byte{{0, 0, 0, hasSize | hasMode | 8}, size, mode, owner}, nil), attrs{256, true}, true},
		"no size":         {bytes.Join([][]byte{{0, 0, 0, hasMode}, mode}, nil), attrs{}, false},
		"no mode":         {bytes.Join([][]byte{{0, 0, 0, hasSize}, size}, nil), attrs{}, false},
		"cut off":         {bytes.Join([][]byte{{0, 0, 0, hasSize | hasMode}, size}, nil), attrs{}, false},
		"less than none":  {bytes.Join([][]byte{{0, 0, 0, hasSize | hasMode}, {255, 0, 0, 0, 0, 0, 0, 0}, mode}, nil), attrs{}, false},
		"nothing":         {nil, attrs{}, false},
		"owner is missed": {bytes.Join([][]byte{{0, 0, 0, hasSize | hasOwner | hasMode}, size, mode}, nil), attrs{}, false},
	} {
		got, err := parseAttrs(test.sent)
		if (err == nil) != test.ok || test.ok && got != test.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// writerFunc is a writer that is a function.
type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

// A session may end because nothing more can be sent while an answer arrives.
// Whoever waits for that answer has it once it is there, and not before: until
// then its memory is written to.
func TestEndsWhileAnswered(t *testing.T) {
	r, theirs := io.Pipe()
	defer r.Close()
	go func() { _, _ = theirs.Write(hello) }()
	var broken atomic.Bool
	s, err := newSession(r, writerFunc(func(b []byte) (int, error) {
		if broken.Load() {
			return 0, io.ErrClosedPipe
		}
		return len(b), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	f := &file{session: s, handle: "h"}
	first := f.read(make([]byte, 4), 0)
	// A data answer of two bytes to request 1, all but the last of them. A pipe's
	// write returns when it has been read.
	answer := message(kindData, 0, 0, 0, 1, 0, 0, 0, 2, 'a', 'b')
	if _, err := theirs.Write(answer[:len(answer)-1]); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	second := f.read(make([]byte, 4), 2)
	if _, err := second.result(kindData); !errors.Is(err, errLost) {
		t.Errorf("what couldn't be sent: %v, want %v", err, errLost)
	}
	<-s.ended
	select {
	case <-first.answered:
		t.Error("a call ended while its memory was written to")
	default:
	}
	if _, err := theirs.Write(answer[len(answer)-1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := first.result(kindData); err != nil || string(first.into[:first.n]) != "ab" {
		t.Errorf("what was being answered: %q, %v", first.into[:first.n], err)
	}
}

// FuzzSession has a server send anything.
func FuzzSession(f *testing.F) {
	f.Add(hello)
	f.Add(append(bytes.Clone(hello), message(kindHandle, 0, 0, 0, 2, 0, 0, 0, 1, 'h')...))
	f.Add(append(bytes.Clone(hello), message(kindData, 0, 0, 0, 3, 0, 0, 0, 2, 'a', 'b')...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_, _ = w.Write(sent[:min(len(sent), len(hello))]) // so that what follows are answers
			<-ctx.Done()
			_, _ = w.Write(sent[min(len(sent), len(hello)):])
			w.Close()
		}()
		if !bytes.HasPrefix(sent, hello) {
			cancel()
		}
		s, err := newSession(r, io.Discard)
		if err != nil {
			return
		}
		open := &file{session: s, handle: "h"}
		calls := []*call{s.askStat("x"), s.askStat("y"), open.read(make([]byte, 10), 0)}
		cancel()
		_, _ = calls[0].attrs() // any outcome will do, but there must be one
		if b, err := calls[1].result(kindHandle); err == nil {
			if handle, err := parseHandle(b); err == nil && len(handle) > maxHandle {
				t.Errorf("a handle of %d bytes", len(handle))
			}
		}
		if _, err := calls[2].result(kindData); err == nil && (calls[2].n < 1 || calls[2].n > 10) {
			t.Errorf("%d bytes of content", calls[2].n)
		}
		r.Close()
		<-s.ended
	})
}
