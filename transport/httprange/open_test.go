package httprange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
	"github.com/waybill-project/waybill/transport/netclass"
)

// content is the blob of most tests: larger than any buffer on the way.
var content = func() []byte {
	b := make([]byte, 300<<10)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}()

func newClient(t *testing.T) *httpclient.Client {
	t.Helper()
	c := httpclient.New(httpclient.Options{CertDirs: []string{}})
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// faulty starts a server of content with a fault, and returns content's URL.
func faulty(t *testing.T, fault faultserver.Fault) (*faultserver.Server, string) {
	t.Helper()
	blob := faultserver.BytesBlob(content)
	s, err := faultserver.New(faultserver.Options{Blobs: []faultserver.Blob{blob}, Faults: []faultserver.Fault{fault}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, s.BlobURL(blob.Digest)
}

func part(url string, offset, length int64) httprange.Request {
	return httprange.Request{URL: url, Size: int64(len(content)), Offset: offset, Length: length}
}

func TestOpenReadsExactlyTheRange(t *testing.T) {
	_, url := faulty(t, faultserver.Fault{})
	size := int64(len(content))
	unknown := func(r httprange.Request) httprange.Request { r.Size = -1; return r }
	tests := []struct {
		name string
		r    httprange.Request
		want []byte
	}{
		{"whole", part(url, 0, size), content},
		{"whole by -1", part(url, 0, -1), content},
		{"whole of unknown size", unknown(part(url, 0, -1)), content},
		{"first byte", part(url, 0, 1), content[:1]},
		{"last byte", part(url, size-1, 1), content[size-1:]},
		{"middle", part(url, 1000, 100_000), content[1000:101_000]},
		{"middle of unknown size", unknown(part(url, 1000, 100_000)), content[1000:101_000]},
	}
	c := newClient(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := httprange.Open(context.Background(), c, tt.r)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			got, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("read %d bytes that are not the %d wanted", len(got), len(tt.want))
			}
			if n, err := body.Read(make([]byte, 8)); n != 0 || err != io.EOF {
				t.Errorf("Read after the end = %d, %v; want io.EOF", n, err)
			}
		})
	}
}

func TestOpenOutcomes(t *testing.T) {
	type fault = faultserver.Fault
	tests := []struct {
		name    string
		fault   fault
		whole   bool
		kind    error
		text    string
		waiting time.Duration
	}{
		{name: "200 to a range", fault: fault{Ranges: faultserver.RangesIgnored}, kind: transport.ErrRangeUnsupported, text: "200"},
		{name: "other range", fault: fault{Ranges: faultserver.RangesOther}, kind: transport.ErrPermanent, text: "asked for 1000-1999"},
		{name: "malformed Content-Range", fault: fault{Ranges: faultserver.RangesMalformed}, kind: transport.ErrPermanent, text: "malformed Content-Range"},
		{name: "no Content-Range", fault: fault{Ranges: faultserver.RangesMissing}, kind: transport.ErrPermanent, text: "0 Content-Range"},
		{name: "multipart", fault: fault{Ranges: faultserver.RangesMultipart}, kind: transport.ErrPermanent, text: "multipart/byteranges"},
		{name: "wrong total", fault: fault{Ranges: faultserver.RangesWrongTotal}, kind: transport.ErrPermanent, text: "has 307201 bytes, want 307200"},
		{name: "416", fault: fault{Ranges: faultserver.RangesUnsatisfiable}, kind: transport.ErrPermanent, text: "416"},
		{name: "gzip", fault: fault{Gzip: true}, kind: transport.ErrPermanent, text: `Content-Encoding "gzip"`},
		{name: "gzip of all", fault: fault{Gzip: true}, whole: true, kind: transport.ErrPermanent, text: `Content-Encoding "gzip"`},
		{name: "too short", fault: fault{Body: faultserver.BodyTruncated, After: 10}, kind: transport.ErrPermanent, text: "announces 10 bytes for a range of 1000"},
		{name: "too short of all", fault: fault{Body: faultserver.BodyTruncated, After: 10}, whole: true, kind: transport.ErrPermanent, text: "has 10 bytes, want 307200"},
		{name: "400", fault: fault{Status: 400}, kind: transport.ErrPermanent},
		{name: "401", fault: fault{Status: 401}, kind: transport.ErrUnauthorized, text: "answered 401 Unauthorized"},
		{name: "403", fault: fault{Status: 403}, kind: transport.ErrUnauthorized},
		{name: "404", fault: fault{Status: 404}, kind: transport.ErrNotFound},
		{name: "408", fault: fault{Status: 408}, kind: transport.ErrTemporary},
		{name: "410", fault: fault{Status: 410}, kind: transport.ErrNotFound},
		{name: "418", fault: fault{Status: 418}, kind: transport.ErrPermanent},
		{name: "429", fault: fault{Status: 429}, kind: transport.ErrThrottled},
		{name: "429 with seconds", fault: fault{Status: 429, RetryAfter: 7 * time.Second}, kind: transport.ErrThrottled, waiting: 7 * time.Second},
		{name: "429 for ever", fault: fault{Status: 429, RetryAfter: 1000 * time.Hour}, kind: transport.ErrThrottled, waiting: httpclient.MaxRetryAfter},
		{name: "503 with Retry-After", fault: fault{Status: 503, RetryAfter: 2 * time.Second}, kind: transport.ErrThrottled, waiting: 2 * time.Second},
		{name: "503", fault: fault{Status: 503}, kind: transport.ErrTemporary},
		{name: "500", fault: fault{Status: 500}, kind: transport.ErrTemporary},
		{name: "204", fault: fault{Status: 204}, kind: transport.ErrPermanent},
		{name: "304", fault: fault{Status: 304}, kind: transport.ErrPermanent},
		{name: "300", fault: fault{Status: 300}, kind: transport.ErrPermanent},
		{name: "redirect to itself", fault: fault{Redirect: &faultserver.Redirect{}}, kind: transport.ErrPermanent, text: "redirected more than 10 times"},
		{name: "redirects for ever", fault: fault{Redirect: &faultserver.Redirect{Hops: -1}}, kind: transport.ErrPermanent, text: "redirected more than 10 times"},
		{name: "reset on accept", fault: fault{Reset: faultserver.ResetAccept}, kind: transport.ErrTemporary},
		{name: "reset after the request", fault: fault{Reset: faultserver.ResetRequest}, kind: transport.ErrTemporary},
		{name: "reset in the headers", fault: fault{Reset: faultserver.ResetHeaders}, kind: transport.ErrTemporary},
	}
	c := newClient(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, url := faulty(t, tt.fault)
			r := part(url, 1000, 1000)
			if tt.whole {
				r = part(url, 0, -1)
			}
			_, err := httprange.Open(context.Background(), c, r)
			checkKind(t, err, tt.kind, tt.text)
			var te *transport.Error
			if errors.As(err, &te) && te.RetryAfter != tt.waiting {
				t.Errorf("RetryAfter = %v, want %v", te.RetryAfter, tt.waiting)
			}
		})
	}
}

// checkKind fails unless err is a one-line transport.Error of that kind alone
// and says text.
func checkKind(t *testing.T, err, kind error, text string) {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.Kind != kind {
		t.Fatalf("error %v, want kind %q", err, kind)
	}
	if !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q does not say %q in one line", err, text)
	}
}

func TestReadOutcomes(t *testing.T) {
	type fault = faultserver.Fault
	tests := []struct {
		name   string
		fault  fault
		yields int64 // of 200 000
		kind   error
		text   string
	}{
		{"short", fault{Body: faultserver.BodyShort, After: 70_000}, 70_000, transport.ErrTemporary, "ended 130000 bytes early"},
		{"endless", fault{Body: faultserver.BodyEndless}, 200_000, transport.ErrPermanent, "sent more than asked"},
		{"reset", fault{Reset: faultserver.ResetBody, After: 70_000}, -1, transport.ErrTemporary, ""},
	}
	for _, tt := range tests {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s whole=%v", tt.name, whole), func(t *testing.T) {
				_, url := faulty(t, tt.fault)
				r, yields, text := part(url, 1000, 200_000), tt.yields, tt.text
				if whole {
					r = part(url, 0, -1)
					if tt.kind == transport.ErrPermanent {
						yields = int64(len(content))
					}
					text = strings.Replace(text, "130000", "237200", 1)
				}
				body, err := httprange.Open(context.Background(), newClient(t), r)
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				n, err := io.Copy(io.Discard, body)
				checkKind(t, err, tt.kind, text)
				if yields >= 0 && n != yields {
					t.Errorf("read %d bytes, want %d", n, yields)
				}
				if tt.name == "short" && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%v is not io.ErrUnexpectedEOF", err)
				}
				if _, again := body.Read(make([]byte, 1)); again != err {
					t.Errorf("Read after %q returned %v", err, again)
				}
			})
		}
	}
}

func TestOpenAsksForWhatItIsToAndNoMore(t *testing.T) {
	var got []http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Clone())
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	defer srv.Close()
	c := newClient(t)
	for _, r := range []httprange.Request{part(srv.URL, 5, 10), part(srv.URL, 0, -1)} {
		r.Header = http.Header{"Accept": {"application/x-blob"}}
		body, err := httprange.Open(context.Background(), c, r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, body)
		body.Close()
	}
	if r := got[0].Values("Range"); len(r) != 1 || r[0] != "bytes=5-14" {
		t.Errorf("Range = %q, want bytes=5-14", r)
	}
	if r := got[1].Values("Range"); len(r) != 0 {
		t.Errorf("Range = %q for the whole blob", r)
	}
	for _, h := range got {
		if e := h.Values("Accept-Encoding"); len(e) != 1 || e[0] != "identity" {
			t.Errorf("Accept-Encoding = %q, want identity", e)
		}
		if h.Get("Accept") != "application/x-blob" || h.Get("Referer") != "" || h.Get("Cookie") != "" {
			t.Errorf("asked with %v", h)
		}
	}
}

func TestOpenRejectsWhatIsNoRange(t *testing.T) {
	asked := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer srv.Close()
	size := int64(len(content))
	for _, r := range []httprange.Request{
		part(srv.URL, -1, 1), part(srv.URL, 0, 0), part(srv.URL, 0, -2), part(srv.URL, 1, -1),
		part(srv.URL, size, 1), part(srv.URL, 1, size), part(srv.URL, 1<<62, 1<<62),
	} {
		_, err := httprange.Open(context.Background(), newClient(t), r)
		checkKind(t, err, transport.ErrPermanent, "")
	}
	if asked {
		t.Error("the server was asked")
	}
}

func TestCancelEndsOpenAndRead(t *testing.T) {
	t.Run("Open", func(t *testing.T) {
		_, url := faulty(t, faultserver.Fault{StallHeaders: true})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := httprange.Open(ctx, newClient(t), part(url, 0, 10)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
	t.Run("Read", func(t *testing.T) {
		_, url := faulty(t, faultserver.Fault{Body: faultserver.BodyStall, After: 10})
		because := errors.New("no longer needed")
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		body, err := httprange.Open(ctx, newClient(t), part(url, 0, 1000))
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if _, err := io.ReadFull(body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, func() { cancel(because) })
		_, err = body.Read(make([]byte, 10))
		if !errors.Is(err, context.Canceled) || !errors.Is(err, because) {
			t.Errorf("error %v, want the context's with its cause", err)
		}
	})
}

func TestConnectionsAreReusedAfterAFullRangeOnly(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	conns := make(chan struct{}, 100)
	srv.Config.ConnState = countNew(conns)
	srv.Start()
	defer srv.Close()
	c := newClient(t)
	read := func(n int64) {
		t.Helper()
		body, err := httprange.Open(context.Background(), c, part(srv.URL, 100, 200_000))
		if err != nil {
			t.Fatal(err)
		}
		// Exactly the bytes, and no Read for the end: as an engine does that
		// counts.
		if _, err := io.ReadFull(body, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		body.Close()
	}
	for range 5 {
		read(200_000)
	}
	if len(conns) != 1 {
		t.Errorf("5 full ranges took %d connections, want 1", len(conns))
	}
	read(10)
	read(200_000)
	if len(conns) != 2 {
		t.Errorf("an abandoned range and another took %d connections in all, want 2", len(conns))
	}
}

func TestSize(t *testing.T) {
	serve := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	refuse := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(code)
				return
			}
			serve(w, r)
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		size    int64
		kind    error
	}{
		{"HEAD", serve, int64(len(content)), nil},
		{"HEAD not allowed", refuse(405), int64(len(content)), nil},
		{"HEAD forbidden", refuse(403), int64(len(content)), nil},
		{"HEAD not found", refuse(404), 0, transport.ErrNotFound},
		{"HEAD without length", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				serve(w, r)
			}
		}, int64(len(content)), nil},
		{"empty", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(405)
				return
			}
			w.Header().Set("Content-Range", "bytes */0")
			w.WriteHeader(416)
		}, 0, nil},
		{"no ranges", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(405)
				return
			}
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}, 5, nil},
		{"never said", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
		}, 0, transport.ErrPermanent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			got, err := httprange.Size(context.Background(), newClient(t), httprange.Request{URL: srv.URL, Size: -1})
			if tt.kind != nil {
				checkKind(t, err, tt.kind, "")
				return
			}
			if err != nil || got != tt.size {
				t.Errorf("Size = %d, %v; want %d", got, err, tt.size)
			}
		})
	}
}

func TestFloorOfTheFirstHop(t *testing.T) {
	s, url := faulty(t, faultserver.Fault{})
	r := part(url, 0, 10)
	r.Floor = netclass.Public
	_, err := httprange.Open(context.Background(), newClient(t), r)
	checkKind(t, err, transport.ErrRefused, "loopback address")
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestParseContentRange(t *testing.T) {
	tests := []struct {
		in   string
		want httprange.ContentRange
		ok   bool
	}{
		{"bytes 0-0/1", httprange.ContentRange{First: 0, Last: 0, Size: 1}, true},
		{"bytes 5-9/*", httprange.ContentRange{First: 5, Last: 9, Size: -1}, true},
		{"BYTES 5-9/10", httprange.ContentRange{First: 5, Last: 9, Size: 10}, true},
		{"bytes */0", httprange.ContentRange{First: -1, Last: -1, Size: 0}, true},
		{in: "bytes */*"}, {in: "bytes 5-4/10"}, {in: "bytes 5-10/10"}, {in: "bytes 0-1"},
		{in: "bytes=0-1/2"}, {in: "items 0-1/2"}, {in: "bytes +0-1/2"}, {in: "bytes -1/2"},
		{in: "bytes 0-/2"}, {in: "bytes 0-1/-2"}, {in: "bytes  0-1/2"}, {in: "bytes 0-1/2 "},
		{in: "bytes 0-99999999999999999999/*"}, {in: ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := httprange.ParseContentRange(tt.in)
			if (err == nil) != tt.ok || tt.ok && got != tt.want {
				t.Errorf("ParseContentRange(%q) = %+v, %v", tt.in, got, err)
			}
		})
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes */10", "bytes 0-9/*", "bytes 0-9/10/11"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := httprange.ParseContentRange(s)
		if err != nil {
			return
		}
		if c.First > c.Last || c.Size >= 0 && c.Last >= c.Size || c.First < 0 && (c.First != -1 || c.Last != -1 || c.Size < 0) {
			t.Fatalf("ParseContentRange(%q) = %+v", s, c)
		}
		if again, err := httprange.ParseContentRange(c.String()); err != nil || again != c {
			t.Fatalf("%q became %q, which parses as %+v, %v", s, c, again, err)
		}
	})
}
