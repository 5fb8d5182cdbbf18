package faultserver_test

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/internal/faultserver"
)

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
