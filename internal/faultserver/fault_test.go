package faultserver_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
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

func TestDieAndRevive(t *testing.T) {
	blob := faultserver.RandomBlob(1, 1<<20)
	s := start(t, faultserver.Options{Blobs: []faultserver.Blob{blob}, DieAfter: 3 << 19})
	url := s.BlobURL(blob.Digest)
	if res := mustAsk(t, request{url: url}); res.err != nil {
		t.Fatal(res.err)
	}
	if res, err := ask(t, request{url: url}); err == nil && res.err == nil {
		t.Fatal("the server survived")
	}
	if stats := s.Stats(); stats.Bytes != 3<<19 || !stats.Dead || stats.OpenConnections != 0 {
		t.Errorf("died after %d bytes, want %d: %+v", stats.Bytes, 3<<19, stats)
	}
	if _, err := ask(t, request{url: url}); err == nil {
		t.Error("a dead server answered")
	}
	if err := s.Revive(); err != nil {
		t.Fatal(err)
	}
	if s.BlobURL(blob.Digest) != url {
		t.Error("revived elsewhere")
	}
	if res := mustAsk(t, request{url: url}); res.err != nil || res.ContentLength != blob.Size {
		t.Errorf("revived, it answers %d bytes, %v", res.ContentLength, res.err)
	}
	if err := s.Revive(); err == nil {
		t.Error("a living server was revived")
	}
}

func TestAccounts(t *testing.T) {
	s, url, _ := faulty(t, 1000)
	const secret = "c2VjcmV0"
	mustAsk(t, request{url: url + "?ns=x", header: http.Header{"Authorization": {"Basic " + secret}}})
	mustAsk(t, request{url: url, header: ranged("bytes=990-1010")})
	mustAsk(t, request{method: "HEAD", url: url})
	mustAsk(t, request{url: s.URL() + "/nothing"})
	got := s.Requests()
	if len(got) != 4 {
		t.Fatalf("%d requests, want 4", len(got))
	}
	eventually(t, func() bool { got = s.Requests(); return got[3].Done && got[2].Done && got[1].Done && got[0].Done })
	d := got[0].Digest
	path := "/sha256/" + d.Encoded()
	for i, want := range []faultserver.Request{
		{Method: "GET", Path: path, Query: "ns=x", Digest: d, Length: 1000, Authorization: true, Status: 200, Bytes: 1000, Done: true},
		{Method: "GET", Path: path, Digest: d, Range: "bytes=990-1010", Offset: 990, Length: 10, Status: 206, Bytes: 10, Done: true},
		{Method: "HEAD", Path: path, Digest: d, Status: 200, Done: true},
		{Method: "GET", Path: "/nothing", Status: 404, Done: true},
	} {
		if got[i].Time.IsZero() {
			t.Errorf("request %d has no time", i)
		}
		want.Time = got[i].Time
		if got[i] != want {
			t.Errorf("request %d:\n got %+v\nwant %+v", i, got[i], want)
		}
	}
	stats := s.Stats()
	if stats.Requests != 4 || stats.Bytes != 1010 || stats.Asked != 1010 || stats.Authorizations != 1 ||
		stats.Connections != 4 || stats.MaxConnections < 1 {
		t.Errorf("stats %+v", stats)
	}
	s.ResetStats()
	if stats := s.Stats(); stats.Requests != 0 || stats.Bytes != 0 {
		t.Errorf("after reset %+v", stats)
	}
}

func TestMaxConnections(t *testing.T) {
	s, url, _ := faulty(t, 10, faultserver.Fault{StallHeaders: true})
	ended := make(chan error)
	for range 5 {
		go func() {
			_, err := new(http.Transport).RoundTrip(mustRequest(url))
			ended <- err
		}()
	}
	eventually(t, func() bool { return s.Stats().OpenConnections == 5 })
	s.Close()
	for range 5 {
		if err := <-ended; err == nil {
			t.Error("a stalled request was answered")
		}
	}
	if stats := s.Stats(); stats.MaxConnections != 5 || stats.OpenConnections != 0 {
		t.Errorf("stats %+v", stats)
	}
}

func mustRequest(url string) *http.Request {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		panic(err)
	}
	return req
}

// TestRateIsNeverExceeded checks the limit from above, which holds however busy
// the machine is.
func TestRateIsNeverExceeded(t *testing.T) {
	const rate, size, burst = 4 << 20, 2 << 20, 64 << 10
	for _, test := range []struct {
		name  string
		opts  faultserver.Options
		conns int
	}{
		{"shared by two", faultserver.Options{Rate: rate}, 2},
		{"one connection", faultserver.Options{ConnRate: rate}, 1},
		{"one answer", faultserver.Options{Faults: []faultserver.Fault{{Rate: rate}}}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			blob := faultserver.RandomBlob(1, size/int64(test.conns))
			test.opts.Blobs = []faultserver.Blob{blob}
			s := start(t, test.opts)
			began := time.Now()
			done := make(chan error)
			for range test.conns {
				go func() {
					res, err := new(http.Transport).RoundTrip(mustRequest(s.BlobURL(blob.Digest)))
					if err == nil {
						_, err = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					done <- err
				}()
			}
			var failed error
			for range test.conns {
				failed = errors.Join(failed, <-done)
			}
			if failed != nil {
				t.Fatal(failed)
			}
			least := time.Duration(float64(size-burst) / rate * float64(time.Second))
			if took := time.Since(began); took < least {
				t.Errorf("%d bytes took %v at %d bytes/s; at least %v is due", size, took, rate, least)
			}
		})
	}
}

func TestStatsPath(t *testing.T) {
	s, _, _ := faulty(t, 10, faultserver.Fault{Status: 500})
	res := mustAsk(t, request{url: s.URL() + faultserver.StatsPath})
	if res.StatusCode != 200 || !strings.Contains(string(res.body), strconv.Quote(s.URL())) {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	if len(s.Requests()) != 0 {
		t.Error("asking for the stats was counted")
	}
}
