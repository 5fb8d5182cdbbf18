package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// kinds are the kinds an error may have.
var kinds = []error{
	transport.ErrNotFound, transport.ErrUnauthorized, transport.ErrThrottled, transport.ErrRangeUnsupported,
	transport.ErrTemporary, transport.ErrPermanent, transport.ErrRefused,
}

// within calls f and reports what it noted. Where it takes longer than limit,
// the test fails with the stacks of all goroutines.
func within(t testing.TB, limit time.Duration, what string, f func(*notes)) {
	t.Helper()
	n := &notes{ctx: t.Context()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(n)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("%s hangs: not done after %v\n%s", what, limit, stacks())
	}
	for _, line := range n.logged {
		t.Log(line)
	}
	for _, line := range n.failed {
		t.Error(line)
	}
}

// notes are what a function that may hang has to say to the test. One that goes
// on when the test is over must not say it to that any more.
type notes struct {
	ctx            context.Context
	logged, failed []string
}

// Context returns the test's.
func (n *notes) Context() context.Context { return n.ctx }

func (n *notes) Log(args ...any)   { n.logged = append(n.logged, fmt.Sprint(args...)) }
func (n *notes) Error(args ...any) { n.failed = append(n.failed, fmt.Sprint(args...)) }

func (n *notes) Errorf(format string, args ...any) {
	n.failed = append(n.failed, fmt.Sprintf(format, args...))
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	buf := make([]byte, 4*mib)
	return buf[:runtime.Stack(buf, true)]
}

// wrongError says what is wrong with err as an answer of the given route,
// where it should be of one of the kinds wanted; no kinds means any.
func wrongError(err error, route transport.Route, wanted ...error) error {
	if err == nil {
		return fmt.Errorf("no error, want one that is %s", oneOf(wanted))
	}
	if line := err.Error(); strings.ContainsAny(line, "\r\n") {
		return fmt.Errorf("the error is not one line: %q", line)
	}
	if password := passwordOf(route.URI); password != "" && strings.Contains(err.Error(), password) {
		return errors.New("the error shows the password in the route's URI; see transport.Redact")
	}
	var te *transport.Error
	if !errors.As(err, &te) {
		return fmt.Errorf("no *transport.Error is in the error %q (%T)", err, err)
	}
	if !slices.Contains(kinds, te.Kind) {
		return fmt.Errorf("the error %q has a kind that is none of package transport's: %v", err, te.Kind)
	}
	if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(kind error) bool { return errors.Is(err, kind) }) {
		return fmt.Errorf("the error %q is of kind %q, want %s", err, te.Kind, oneOf(wanted))
	}
	return nil
}

// wrongCancel says what is wrong with err as the end of something whose
// context was cancelled.
func wrongCancel(err error) error {
	if err == nil || !errors.Is(err, context.Canceled) {
		return fmt.Errorf("got %v, want context.Canceled", err)
	}
	return nil
}

func oneOf(kinds []error) string {
	if len(kinds) == 0 {
		return "a *transport.Error"
	}
	var names []string
	for _, k := range kinds {
		names = append(names, fmt.Sprintf("%q", k))
	}
	return strings.Join(names, " or ")
}

// passwordOf returns the password in a URI, or "".
func passwordOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.User == nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}

// open opens a range. It fails the test where that takes for ever, or gives
// both or neither of a reader and an error.
func (s *suite) open(t testing.TB, ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	t.Helper()
	return s.openWithin(t, s.patience, ctx, route, desc, offset, length)
}

func (s *suite) openWithin(t testing.TB, limit time.Duration, ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (r io.ReadCloser, err error) {
	t.Helper()
	within(t, limit, "Open", func(*notes) { r, err = s.h.Transport.Open(ctx, route, desc, offset, length) })
	if (r == nil) == (err == nil) {
		t.Fatalf("Open returned the reader %v and the error %v; want exactly one", r, err)
	}
	return r, err
}

// mustOpen opens a range of a blob that is there.
func (s *suite) mustOpen(t testing.TB, ctx context.Context, p placed, offset, length int64) io.ReadCloser {
	t.Helper()
	r, err := s.open(t, ctx, p.route, p.desc, offset, length)
	if err != nil {
		t.Fatalf("Open of %d bytes at %d of %d: %v", length, offset, p.blob.Size, err)
	}
	return r
}

// close closes r, which is to be prompt.
func (s *suite) close(t testing.TB, r io.Closer) {
	t.Helper()
	within(t, s.prompt, "Close", func(*notes) { _ = r.Close() })
}

// expect reads r, the range of b from offset on, with a buffer of the given
// size, and says what is wrong with it: it is to be exactly length bytes, the
// right ones, and then io.EOF, as often as one asks.
func expect(r io.Reader, b Blob, offset, length int64, buffer int) error {
	n, err := compare(r, b, offset, length, buffer)
	switch {
	case err == io.EOF && n < length:
		return fmt.Errorf("io.EOF after %d bytes of %d", n, length)
	case err != io.EOF:
		return fmt.Errorf("after %d bytes of %d: %w", n, length, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("a Read after io.EOF gives %d bytes, %v; want io.EOF again", n, err)
	}
	return nil
}

// compare reads r to its end, comparing it with the range of b, and returns how
// many right bytes came and what ended them: Read's error, or what is wrong
// with what was read.
func compare(r io.Reader, b Blob, offset, length int64, buffer int) (int64, error) {
	got, want := make([]byte, buffer), make([]byte, buffer)
	var done int64
	for idle := 0; idle < 1000; {
		n, err := r.Read(got)
		if n < 0 || n > len(got) {
			return done, fmt.Errorf("a Read of %d bytes returned %d", len(got), n)
		}
		if int64(n) > length-done {
			return done, fmt.Errorf("more than the %d bytes asked for", length)
		}
		b.fill(want[:n], offset+done)
		if i := mismatch(got[:n], want[:n]); i >= 0 {
			return done + int64(i), fmt.Errorf("wrong byte at offset %d of the blob: %#02x, want %#02x", offset+done+int64(i), got[i], want[i])
		}
		done += int64(n)
		if err != nil {
			return done, err
		}
		if idle++; n > 0 {
			idle = 0
		}
	}
	return done, io.ErrNoProgress
}

// mismatch returns the first index where a and b, of one length, differ; -1
// where they don't.
func mismatch(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}
