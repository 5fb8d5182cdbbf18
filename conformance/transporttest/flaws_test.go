package transporttest_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
)

// flaws are what the suite must find: which test of which group, and what it
// says.
var flaws = []struct {
	name        string
	group, test string
	says        string
	flaw        func(h *transporttest.Harness)
}{
	{"a byte off", "Ranges", "middle_part", "wrong byte at offset", asked(func(d *ocispec.Descriptor, off, n *int64) {
		if *off > 0 && *off+*n < d.Size {
			*off++
		}
	})},
	{"one byte less", "Ranges", "last_part", "io.EOF after 999 bytes of 1000", asked(func(_ *ocispec.Descriptor, _, n *int64) {
		if *n > 1 {
			*n--
		}
	})},
	{"one byte more", "Ranges", "first_part", "more than the 1000 bytes", asked(func(d *ocispec.Descriptor, off, n *int64) {
		if *off+*n < d.Size {
			*n++
		}
	})},
	{"ranges clipped at the end", "Ranges", "over_the_end", "read 10 bytes of a range that is not all in the blob", asked(func(d *ocispec.Descriptor, off, n *int64) {
		*n = min(*n, d.Size-*off)
		d.Size = -1
	})},
	{"past the end is empty", "Ranges", "from_the_end_on", "no *transport.Error", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if offset == desc.Size && offset > 0 {
				return io.NopCloser(strings.NewReader("")), nil
			}
			return r.Open(ctx, route, desc, offset, length)
		}
	})},
	{"unknown sizes", "Ranges", "unknown_size", "Open of the whole", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if length < 0 {
				return nil, transport.Errorf(transport.ErrPermanent, route.URI, "negative length")
			}
			return r.Open(ctx, route, desc, offset, length)
		}
	})},
	{"empty blobs", "Ranges", "empty_blob", "Open of the whole", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if length == 0 {
				return nil, transport.Errorf(transport.ErrPermanent, route.URI, "nothing asked for")
			}
			return r.Open(ctx, route, desc, offset, length)
		}
	})},
	{"all for nothing", "Ranges", "nothing_in_the_middle", "more than the 0 bytes", asked(func(d *ocispec.Descriptor, off, n *int64) {
		if *n == 0 {
			*n = d.Size - *off
		}
	})},
	{"both reader and error", "Ranges", "whole", "want exactly one", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("")), transport.Errorf(transport.ErrTemporary, route.URI, "something")
		}
	})},
	{"whole to a range", "Ranges", "first_part", "where only whole blobs are sent", func(h *transporttest.Harness) {
		h.Transport, h.WholeOnly = newReference(), true
	}},

	{"sizes not compared", "Expectations", "size_off_by_1", "that should have", asked(func(d *ocispec.Descriptor, _, n *int64) {
		if *n == d.Size {
			d.Size, *n = -1, -1
		}
	})},
	{"wrong size", "Expectations", "size", "Size of a blob of", func(h *transporttest.Harness) {
		h.Transport = &flawed{reference: newReference(), size: func(context.Context, transport.Route, ocispec.Descriptor) (int64, error) { return 7, nil }}
	}},
	{"size of what is missing", "Expectations", "missing", "Size of a blob that isn't there", func(h *transporttest.Harness) {
		h.Transport = &flawed{reference: newReference(), size: func(context.Context, transport.Route, ocispec.Descriptor) (int64, error) { return -1, nil }}
	}},
	{"good URIs are wrong", "Expectations", "check", "Check of the URI of a blob that is there", checks(func(uri string) error {
		return transport.Errorf(transport.ErrPermanent, uri, "something")
	})},
	{"any URI is good", "Expectations", "check", `Check of "no-such-scheme:x": no error`, checks(func(string) error { return nil })},
	{"missing is temporary", "Expectations", "missing", `want "not found"`, another(transport.ErrNotFound, transport.ErrTemporary)},
	{"errors without a type", "Expectations", "missing", "no *transport.Error", fails(func(_ transport.Route, err error) error {
		return errors.New(err.Error())
	})},
	{"a kind of its own", "Expectations", "missing", "none of package transport's", fails(func(route transport.Route, err error) error {
		return &transport.Error{Kind: io.ErrClosedPipe, URI: route.URI, Err: err}
	})},
	{"errors of two lines", "Expectations", "missing", "not one line", fails(func(route transport.Route, err error) error {
		return transport.Errorf(transport.ErrNotFound, route.URI, "two\nlines: %w", err)
	})},
	{"passwords shown", "Expectations", "missing", "shows the password", fails(func(route transport.Route, err error) error {
		return transport.Errorf(transport.ErrNotFound, route.URI, "%s: %w", route.URI, err)
	})},
	{"digests become paths", "Expectations", "invalid_digest", "Open of the invalid digest", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if _, path, ok := strings.Cut(desc.Digest.String(), ":../sha256/"); ok {
				desc.Digest = digest.NewDigestFromEncoded(digest.SHA256, path)
			}
			return r.Open(ctx, route, desc, offset, length)
		}
	})},

	{"denied is not found", "Faults", "denied", `want "unauthorized"`, another(transport.ErrUnauthorized, transport.ErrNotFound)},
	{"throttled is temporary", "Faults", "throttled", `want "throttled"`, another(transport.ErrThrottled, transport.ErrTemporary)},
	{"when to come back is lost", "Faults", "throttled", "RetryAfter is 0s", another(transport.ErrThrottled, transport.ErrThrottled)},
	{"temporary is permanent", "Faults", "temporary", `want "temporary failure"`, another(transport.ErrTemporary, transport.ErrPermanent)},
	{"permanent is temporary", "Faults", "permanent", `want "permanent failure"`, another(transport.ErrPermanent, transport.ErrTemporary)},
	{"short is complete", "Faults", "short_body", "as if the blob were complete", reads(func(int64) reader {
		return func(r io.Reader, p []byte) (int, error) {
			n, err := r.Read(p)
			if err != nil {
				err = io.EOF
			}
			return n, err
		}
	})},
	{"faults neither made nor impossible", "Faults", "", "must be in exactly one", func(h *transporttest.Harness) {
		h.Transport, h.Faults = newReference(), nil
	}},

	{"EOF once", "Ranges", "whole", "want io.EOF again", reads(func(int64) reader {
		ended := false
		return func(r io.Reader, p []byte) (int, error) {
			if ended {
				return 0, nil
			}
			n, err := r.Read(p)
			ended = err == io.EOF
			return n, err
		}
	})},
	{"tiny buffers lose bytes", "Reading", "seven_bytes_at_a_time", "wrong byte", reads(func(int64) reader {
		return func(r io.Reader, p []byte) (int, error) {
			if len(p) > 1 && len(p) < 16 {
				var more [16]byte
				n, err := r.Read(more[:])
				return copy(p, more[:n]), err
			}
			return r.Read(p)
		}
	})},
	{"large buffers end early", "Reading", "with_a_buffer_larger_than_the_range", "io.EOF after", reads(func(int64) reader {
		return func(r io.Reader, p []byte) (int, error) {
			n, err := r.Read(p)
			if len(p) > 1<<20 && err == nil {
				err = io.EOF
			}
			return n, err
		}
	})},
	{"an empty buffer is the end", "Reading", "into_an_empty_buffer", "Read of no bytes", reads(func(int64) reader {
		return func(r io.Reader, p []byte) (int, error) {
			if len(p) == 0 {
				return 0, io.EOF
			}
			return r.Read(p)
		}
	})},
	{"more than the buffer", "Reading", "page_by_page", "returned 4097", reads(func(int64) reader {
		return func(r io.Reader, p []byte) (int, error) {
			_, err := r.Read(p)
			return len(p) + 1, err
		}
	})},
	{"never a byte", "Reading", "page_by_page", "multiple Read calls return no data", reads(func(int64) reader {
		return func(io.Reader, []byte) (int, error) { return 0, nil }
	})},
	{"everything in memory", "Reading", "in_little_memory", "the heap grew", reads(func(int64) reader {
		var all *strings.Reader
		return func(r io.Reader, p []byte) (int, error) {
			if all == nil {
				content, err := io.ReadAll(r)
				if err != nil {
					return 0, err
				}
				all = strings.NewReader(string(content))
			}
			return all.Read(p)
		}
	})},

	{"Open doesn't mind its context", "Cancel", "before_Open", "want context.Canceled", opens(func(r *reference) opener {
		return func(_ context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			return r.Open(context.Background(), route, desc, offset, length)
		}
	})},
	{"shortened by a byte too much", "Reading", "shortened", "after Shorten", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body, err := r.Open(ctx, route, desc, offset, length)
			if err != nil {
				return nil, err
			}
			return &shortened{ReadCloser: body, left: length}, nil
		}
	})},

	{"Open waits with a cancelled context", "Cancel", "while_Open_waits_for_a_paused_server", "Open hangs", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			body, err := r.Open(context.Background(), route, desc, offset, length)
			if err != nil {
				return nil, err
			}
			return &flawedReader{ReadCloser: body, read: func(r io.Reader, p []byte) (int, error) {
				if err := ctx.Err(); err != nil {
					return 0, err
				}
				return r.Read(p)
			}}, nil
		}
	})},
	{"Size waits with a cancelled context", "Cancel", "while_Open_waits_for_a_paused_server", "Size with a cancelled context hangs", func(h *transporttest.Harness) {
		r := newReference()
		h.Transport = &flawed{reference: r, size: func(_ context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
			return r.Size(context.Background(), route, desc)
		}}
	}},
	{"Read doesn't mind its context", "Cancel", "between_Reads", "everything came", opens(unminded)},
	{"Read waits with a cancelled context", "Cancel", "while_Read_waits", "hangs", opens(unminded)},
	{"cancelled is temporary", "Cancel", "between_Reads", "want context.Canceled", another(context.Canceled, transport.ErrTemporary)},
	{"a cancelled context spoils the next", "Cancel", "then_another", "no more", opens(func(r *reference) opener {
		var spoilt error
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if spoilt != nil {
				return nil, spoilt
			}
			if ctx.Err() != nil {
				spoilt = transport.Errorf(transport.ErrTemporary, route.URI, "no more")
			}
			return r.Open(ctx, route, desc, offset, length)
		}
	})},

	{"Close waits for a mute server", "Close", "while_the_server_is_paused", "Close hangs", opens(drained)},
	{"closed early is closed for good", "Close", "in_the_middle", "no more", opens(func(r *reference) opener {
		var closed bool
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if closed {
				return nil, transport.Errorf(transport.ErrTemporary, route.URI, "no more")
			}
			body, err := r.Open(ctx, route, desc, offset, length)
			if err != nil {
				return nil, err
			}
			return &flawedReader{ReadCloser: body, close: func() error { closed = true; return body.Close() }}, nil
		}
	})},

	{"one at a time", "Concurrent", "32_ranges_at_once", "hangs", opens(oneAtATime)},
	{"one position for all", "Concurrent", "32_ranges_at_once", "wrong byte", opens(func(r *reference) opener {
		var last int64
		var mu sync.Mutex
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			mu.Lock()
			offset, last = last, offset
			mu.Unlock()
			return r.Open(ctx, route, desc, offset, length)
		}
	})},

	{"cancelling one ends all", "Concurrent", "while_others_are_cancelled_and_closed", "others having been cancelled", opens(func(r *reference) opener {
		var ended atomic.Bool
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body, err := r.Open(ctx, route, desc, offset, length)
			if err != nil {
				return nil, err
			}
			stop := context.AfterFunc(ctx, func() { ended.Store(true) })
			return &flawedReader{
				ReadCloser: body,
				read: func(r io.Reader, p []byte) (int, error) {
					if ended.Load() {
						return 0, context.Canceled
					}
					return r.Read(p)
				},
				close: func() error { stop(); return body.Close() },
			}, nil
		}
	})},
	{"others wait for the reader", "Concurrent", "beside_one_that_is_not_read", "hangs", opens(oneAtATime)},
	{"cut is complete", "Restart", "killed_in_the_middle_of_a_body/Read", "as if the blob were complete", reads(func(int64) reader {
		return func(r io.Reader, p []byte) (int, error) {
			n, err := r.Read(p)
			if err != nil {
				err = io.EOF
			}
			return n, err
		}
	})},
	{"cut is permanent", "Restart", "killed_in_the_middle_of_a_body/Read", `want "temporary failure" or`, another(transport.ErrTemporary, transport.ErrPermanent)},
	{"down is not found", "Restart", "killed_in_the_middle_of_a_body/Open_while_it_is_down", `want "temporary failure"`, another(transport.ErrTemporary, transport.ErrNotFound)},
	{"never back", "Restart", "killed_in_the_middle_of_a_body/Open_when_it_is_back", "broken for good", opens(broken)},
	{"never back when idle", "Restart", "restarted_while_nothing_is_read", "broken for good", opens(func(r *reference) opener {
		var opened int
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			if opened++; opened > 4 {
				return nil, transport.Errorf(transport.ErrTemporary, route.URI, "broken for good")
			}
			return r.Open(ctx, route, desc, offset, length)
		}
	})},

	{"a goroutine for each", "Leaks", "goroutines_and_descriptors", "after 20 rounds there are", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			go func() { select {} }()
			return r.Open(ctx, route, desc, offset, length)
		}
	})},
	{"a goroutine for what is given up", "Leaks", "goroutines_and_descriptors", "after 20 rounds there are", opens(func(r *reference) opener {
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body, err := r.Open(ctx, route, desc, offset, length)
			if errors.Is(err, context.DeadlineExceeded) {
				go func() { select {} }()
			}
			return body, err
		}
	})},
	{"a descriptor for each failure", "Leaks", "goroutines_and_descriptors", "after 20 rounds there are", opens(func(r *reference) opener {
		var open []*os.File // referred to: else the runtime closes them
		return func(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
			body, err := r.Open(ctx, route, desc, offset, length)
			if errors.Is(err, transport.ErrNotFound) {
				f, _ := os.Open(os.DevNull)
				open = append(open, f)
			}
			return body, err
		}
	})},
	{"connections kept for ever", "Leaks", "goroutines_and_descriptors", "with the transport closed there are", func(h *transporttest.Harness) {
		h.Transport = &flawed{reference: newReference(), close: func() error { return nil }}
	}},
	{"Close fails", "Leaks", "", "the transport's Close: closed already", func(h *transporttest.Harness) {
		h.Transport = &flawed{reference: newReference(), close: func() error { return errors.New("closed already") }}
	}},

	{"offsets of 32 bits", "Huge", "over_5_GiB", "wrong byte", asked(func(_ *ocispec.Descriptor, off, _ *int64) {
		*off = int64(uint32(*off))
	})},
	{"sizes of 32 bits", "Huge", "size", "Size of a blob of", func(h *transporttest.Harness) {
		r := newReference()
		h.Transport = &flawed{reference: r, size: func(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
			size, err := r.Size(ctx, route, desc)
			return int64(int32(size)), err
		}}
	}},
}

// shortened forgets a byte of what is still wanted.
type shortened struct {
	io.ReadCloser
	read, left int64
}

func (s *shortened) Shorten(length int64) { s.left = min(s.left, length-1-s.read) }

func (s *shortened) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, io.EOF
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.read += int64(n)
	s.left -= int64(n)
	return n, err
}
