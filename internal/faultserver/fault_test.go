package faultserver_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/internal/faultserver"
)

// faulty serves size pseudo-random bytes of seed 1 with faults.
func faulty(t testing.TB, size int, list ...faultserver.Fault) (s *faultserver.Server, url string, all []byte) {
	t.Helper()
	all = content(t, 1, size)
	blob := faultserver.BytesBlob(all)
	s = start(t, faultserver.Options{Blobs: []faultserver.Blob{blob}, Faults: list})
	return s, s.BlobURL(blob.Digest), all
}

// differing are the offsets of the bytes in which two slices differ.
func differing(t testing.TB, a, b []byte) (first, last, count int) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d bytes, want %d", len(a), len(b))
	}
	first, last = -1, -1
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		if first < 0 {
			first = i
		}
		last = i
		count++
	}
	return first, last, count
}

func TestLies(t *testing.T) {
	const size = 1 << 20
	for _, test := range []struct {
		name               string
		lie                faultserver.Lie
		first, last, count int
	}{
		{"everywhere", faultserver.Lie{}, 0, size - 1, size},
		{"early", faultserver.Lie{Length: 1}, 0, 0, 1},
		{"late", faultserver.Lie{Offset: -1}, size - 1, size - 1, 1},
		{"one range", faultserver.Lie{Offset: 300000, Length: 70000}, 300000, 369999, 70000},
		{"from a byte on", faultserver.Lie{Offset: 1000000}, 1000000, size - 1, size - 1000000},
		{"beyond the end", faultserver.Lie{Offset: size}, -1, -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, url, all := faulty(t, size, faultserver.Fault{Lie: &test.lie})
			told := mustAsk(t, request{url: url}).body
			if first, last, count := differing(t, told, all); first != test.first || last != test.last || count != test.count {
				t.Errorf("%d bytes differ, from %d to %d; want %d, from %d to %d",
					count, first, last, test.count, test.first, test.last)
			}
			if again := mustAsk(t, request{url: url}).body; !bytes.Equal(again, told) {
				t.Error("the lie changed")
			}
			part := mustAsk(t, request{url: url, header: ranged("bytes=299000-400000")}).body
			if !bytes.Equal(part, told[299000:400001]) {
				t.Error("a range tells another lie than the whole")
			}
		})
	}
}

func TestLiesWithSeeds(t *testing.T) {
	tell := func(lie faultserver.Lie) (string, string) {
		_, url, _ := faulty(t, 100, faultserver.Fault{Lie: &lie})
		return string(mustAsk(t, request{url: url}).body), string(mustAsk(t, request{url: url}).body)
	}
	one, again := tell(faultserver.Lie{Seed: 1})
	same, _ := tell(faultserver.Lie{Seed: 1})
	other, _ := tell(faultserver.Lie{Seed: 2})
	if one != again || one != same || one == other {
		t.Error("a lie should be that of its seed, on every server")
	}
	fresh, refreshed := tell(faultserver.Lie{Seed: 1, Fresh: true})
	if fresh == refreshed {
		t.Error("a fresh lie came twice")
	}
}

func TestBodies(t *testing.T) {
	const size, after = 100000, 70000
	for _, test := range []struct {
		name    string
		fault   faultserver.Fault
		header  http.Header
		status  int
		length  int64 // announced
		from    int   // where in the blob the body begins
		body    int
		wantErr bool
	}{
		{name: "short", fault: faultserver.Fault{Body: faultserver.BodyShort, After: after}, status: 200, length: size, body: after, wantErr: true},
		{name: "short at once", fault: faultserver.Fault{Body: faultserver.BodyShort}, status: 200, length: size, body: 0, wantErr: true},
		{name: "short range", fault: faultserver.Fault{Body: faultserver.BodyShort, After: 10}, header: ranged("bytes=5-24"), status: 206, length: 20, from: 5, body: 10, wantErr: true},
		{name: "truncated", fault: faultserver.Fault{Body: faultserver.BodyTruncated, After: after}, status: 200, length: after, body: after},
		{name: "truncated range", fault: faultserver.Fault{Body: faultserver.BodyTruncated, After: 10}, header: ranged("bytes=0-19"), status: 206, length: 10, body: 10},
		{name: "reset", fault: faultserver.Fault{Reset: faultserver.ResetBody, After: after}, status: 200, length: size, body: after, wantErr: true},
		{name: "slow and short", fault: faultserver.Fault{Body: faultserver.BodyShort, After: 30, Rate: 1000}, status: 200, length: size, body: 30, wantErr: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, url, all := faulty(t, size, test.fault)
			res := mustAsk(t, request{url: url, header: test.header})
			if res.StatusCode != test.status || res.ContentLength != test.length {
				t.Errorf("status %d, length %d; want %d, %d", res.StatusCode, res.ContentLength, test.status, test.length)
			}
			if !bytes.Equal(res.body, all[test.from:test.from+test.body]) {
				t.Errorf("body of %d bytes, want the right %d", len(res.body), test.body)
			}
			if (res.err != nil) != test.wantErr {
				t.Errorf("reading ended with %v", res.err)
			}
			if got := s.Requests()[0].Bytes; got != int64(test.body) {
				t.Errorf("accounted for %d bytes, want %d", got, test.body)
			}
		})
	}
}

func TestBodyEndless(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		status int
		offset int
	}{
		{"whole", nil, 200, 0},
		{"range", ranged("bytes=10-19"), 206, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, url, all := faulty(t, 20, faultserver.Fault{Body: faultserver.BodyEndless})
			req, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			req.Header = test.header
			if req.Header == nil {
				req.Header = http.Header{}
			}
			res, err := new(http.Transport).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != test.status || res.ContentLength != -1 {
				t.Errorf("status %d, length %d; want %d and none", res.StatusCode, res.ContentLength, test.status)
			}
			got := make([]byte, 10<<20)
			if _, err := io.ReadFull(res.Body, got); err != nil {
				t.Fatalf("it ended: %v", err)
			}
			if honest := all[test.offset:]; !bytes.HasPrefix(got, honest) {
				t.Error("it doesn't begin with the right bytes")
			}
		})
	}
}

// TestStalls asks in the background and sees the request still unfinished once
// as much has come as should.
func TestStalls(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault faultserver.Fault
		body  int64
	}{
		{"before headers", faultserver.Fault{StallHeaders: true}, 0},
		{"before the body", faultserver.Fault{Body: faultserver.BodyStall}, 0},
		{"in the body", faultserver.Fault{Body: faultserver.BodyStall, After: 500}, 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, url, _ := faulty(t, 1000, test.fault)
			ended := make(chan error, 1)
			go func() {
				res, err := http.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				ended <- err
			}()
			eventually(t, func() bool {
				requests := s.Requests()
				return len(requests) == 1 && requests[0].Bytes == test.body
			})
			select {
			case err := <-ended:
				t.Fatalf("the request ended: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			if s.Requests()[0].Done {
				t.Error("the server was done with the request")
			}
			s.Close()
			if err := <-ended; err == nil {
				t.Error("closing the server didn't end the request with an error")
			}
		})
	}
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestResets(t *testing.T) {
	for _, test := range []struct {
		name     string
		stage    faultserver.Stage
		requests int
	}{
		{"at accept", faultserver.ResetAccept, 0},
		{"after the request", faultserver.ResetRequest, 1},
		{"in the headers", faultserver.ResetHeaders, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, url, all := faulty(t, 1000, faultserver.Fault{Reset: test.stage, First: 1})
			if res, err := ask(t, request{method: "POST", url: url}); err == nil {
				t.Fatalf("answered %s", res.Status)
			}
			if got := len(s.Requests()); got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
			if res := mustAsk(t, request{url: url}); !bytes.Equal(res.body, all) {
				t.Error("the connection after the reset one isn't served")
			}
		})
	}
}

func TestRangeFaults(t *testing.T) {
	const size = 1000
	for _, test := range []struct {
		name         string
		fault        faultserver.RangeFault
		ask          string
		status       int
		contentRange string
		from, to     int // of the bytes sent
	}{
		{"ignored", faultserver.RangesIgnored, "bytes=10-19", 200, "", 0, size},
		{"other, earlier", faultserver.RangesOther, "bytes=10-19", 206, "bytes 9-18/1000", 9, 19},
		{"other, later", faultserver.RangesOther, "bytes=0-9", 206, "bytes 1-10/1000", 1, 11},
		{"other, shorter", faultserver.RangesOther, "bytes=0-999", 206, "bytes 0-998/1000", 0, 999},
		{"malformed", faultserver.RangesMalformed, "bytes=10-19", 206, "bytes 10 to 19", 10, 20},
		{"missing", faultserver.RangesMissing, "bytes=10-19", 206, "", 10, 20},
		{"wrong total", faultserver.RangesWrongTotal, "bytes=10-19", 206, "bytes 10-19/1001", 10, 20},
		{"unsatisfiable", faultserver.RangesUnsatisfiable, "bytes=10-19", 416, "bytes */1000", 0, 0},
		{"no range asked", faultserver.RangesUnsatisfiable, "", 200, "", 0, size},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, url, all := faulty(t, size, faultserver.Fault{Ranges: test.fault})
			res := mustAsk(t, request{url: url, header: ranged(test.ask)})
			if res.StatusCode != test.status || res.Header.Get("Content-Range") != test.contentRange {
				t.Errorf("status %d, Content-Range %q; want %d, %q",
					res.StatusCode, res.Header.Get("Content-Range"), test.status, test.contentRange)
			}
			if !bytes.Equal(res.body, all[test.from:test.to]) {
				t.Errorf("%d bytes aren't those from %d to %d", len(res.body), test.from, test.to)
			}
		})
	}
}

func TestRangesMultipart(t *testing.T) {
	_, url, all := faulty(t, 1000, faultserver.Fault{Ranges: faultserver.RangesMultipart})
	res := mustAsk(t, request{url: url, header: ranged("bytes=10-19")})
	kind, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" || res.StatusCode != 206 {
		t.Fatalf("status %d, type %q (%v)", res.StatusCode, kind, err)
	}
	part, err := multipart.NewReader(bytes.NewReader(res.body), params["boundary"]).NextPart()
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(part)
	if err != nil || !bytes.Equal(body, all[10:20]) || part.Header.Get("Content-Range") != "bytes 10-19/1000" {
		t.Errorf("part %q of %d bytes (%v)", part.Header.Get("Content-Range"), len(body), err)
	}
}

func TestGzip(t *testing.T) {
	for _, test := range []struct {
		name     string
		header   http.Header
		status   int
		from, to int
	}{
		{"whole", nil, 200, 0, 600000},
		{"range", ranged("bytes=10-19"), 206, 10, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, url, all := faulty(t, 600000, faultserver.Fault{Gzip: true})
			res := mustAsk(t, request{url: url, header: test.header})
			if res.StatusCode != test.status || res.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("status %d, coding %q", res.StatusCode, res.Header.Get("Content-Encoding"))
			}
			unzipped, err := gzip.NewReader(bytes.NewReader(res.body))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(unzipped)
			if err != nil || !bytes.Equal(body, all[test.from:test.to]) {
				t.Errorf("unzipped %d bytes (%v)", len(body), err)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  faultserver.Fault
		header string
		value  string
	}{
		{"forbidden", faultserver.Fault{Status: 403}, "", ""},
		{"not found", faultserver.Fault{Status: 404}, "", ""},
		{"unavailable", faultserver.Fault{Status: 503}, "", ""},
		{"unsatisfiable", faultserver.Fault{Status: 416}, "Content-Range", "bytes */10"},
		{"throttled", faultserver.Fault{Status: 429, RetryAfter: 1500 * time.Millisecond}, "Retry-After", "2"},
		{"basic", faultserver.Fault{Status: 401, Challenge: `Basic realm="x"`}, "WWW-Authenticate", `Basic realm="x"`},
		{"bearer", faultserver.Fault{Status: 401, Challenge: `Bearer realm="http://h/t"`}, "WWW-Authenticate", `Bearer realm="http://h/t"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.fault.First = 2
			s, url, all := faulty(t, 10, test.fault)
			for range 2 {
				res := mustAsk(t, request{url: url})
				if res.StatusCode != test.fault.Status || len(res.body) != 0 {
					t.Errorf("status %d, %d bytes", res.StatusCode, len(res.body))
				}
				if got := res.Header.Get(test.header); got != test.value {
					t.Errorf("%s: %q, want %q", test.header, got, test.value)
				}
			}
			if res := mustAsk(t, request{url: url}); !bytes.Equal(res.body, all) {
				t.Error("the third request isn't served")
			}
			if got := s.Stats().Statuses; got[test.fault.Status] != 2 || got[200] != 1 {
				t.Errorf("statuses %v", got)
			}
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	_, url, _ := faulty(t, 10, faultserver.Fault{Status: 429, RetryAfter: time.Hour, RetryAfterDate: true})
	value := mustAsk(t, request{url: url}).Header.Get("Retry-After")
	when, err := http.ParseTime(value)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(when); left < 50*time.Minute || left > 61*time.Minute {
		t.Errorf("Retry-After %q is in %v, want an hour", value, left)
	}
}

func TestRedirects(t *testing.T) {
	const path = "/sha256/x?ns=a"
	for _, test := range []struct {
		name   string
		to     faultserver.Redirect
		status int
		hops   []string // locations after one another; "SELF" is the server
		ends   bool
	}{
		{"loop", faultserver.Redirect{}, 307, []string{"SELF" + path, "SELF" + path}, false},
		{"endless chain", faultserver.Redirect{Hops: -1}, 307, []string{"SELF/sha256/x?hop=1&ns=a", "SELF/sha256/x?hop=2&ns=a", "SELF/sha256/x?hop=3&ns=a"}, false},
		{"other origin", faultserver.Redirect{To: "http://other.example:1"}, 307, []string{"http://other.example:1" + path}, true},
		{"chain to another origin", faultserver.Redirect{To: "http://o.example", Hops: 1, Status: 302}, 302, []string{"SELF/sha256/x?hop=1&ns=a", "http://o.example" + path}, true},
		{"chain that ends here", faultserver.Redirect{Hops: 1}, 307, []string{"SELF/sha256/x?hop=1&ns=a"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, faultserver.Options{Faults: []faultserver.Fault{{Redirect: &test.to}}})
			url := s.URL() + path
			for _, hop := range test.hops {
				if !strings.HasPrefix(url, s.URL()) {
					t.Fatalf("the chain left for %s too soon", url)
				}
				res := mustAsk(t, request{url: url})
				if res.StatusCode != test.status {
					t.Fatalf("status %d, want %d", res.StatusCode, test.status)
				}
				url = res.Header.Get("Location")
				if want := strings.Replace(hop, "SELF", s.URL(), 1); url != want {
					t.Fatalf("redirected to %s, want %s", url, want)
				}
			}
			if strings.HasPrefix(url, s.URL()) && test.ends {
				if res := mustAsk(t, request{url: url}); res.StatusCode != 404 {
					t.Errorf("status %d at the end of the chain, want 404 as honest servers say", res.StatusCode)
				}
			}
		})
	}
}

func TestFaultsAreChosen(t *testing.T) {
	one, two := faultserver.BytesBlob([]byte("one")), faultserver.BytesBlob([]byte("two"))
	s := start(t, faultserver.Options{
		Blobs: []faultserver.Blob{one, two},
		Faults: []faultserver.Fault{
			{Match: func(r *http.Request) bool { return r.Header.Get("Range") != "" }, Status: 500},
			{Status: 503, First: 1},
			{Status: 502, First: 1},
		},
		BlobFaults: map[digest.Digest][]faultserver.Fault{two.Digest: {{Status: 403, First: 1}, {}}},
	})
	expect := func(blob faultserver.Blob, header http.Header, want int) {
		t.Helper()
		if res := mustAsk(t, request{url: s.BlobURL(blob.Digest), header: header}); res.StatusCode != want {
			t.Errorf("status %d, want %d", res.StatusCode, want)
		}
	}
	expect(one, nil, 503)
	expect(one, ranged("bytes=0-0"), 500)
	expect(one, nil, 502)
	expect(one, nil, 200)
	expect(two, nil, 403)
	expect(two, ranged("bytes=0-0"), 206) // the empty fault makes it honest
	s.SetBlobFaults(two.Digest)
	expect(two, ranged("bytes=0-0"), 500) // now the server's faults apply
	s.SetFaults()
	expect(two, ranged("bytes=0-0"), 206)
}
