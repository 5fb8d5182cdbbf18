package fetch_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/transport"
)

// Eight sources: one lies in a single range, one stalls, one sends a byte a
// second, one redirects for ever, one answers gzip, one never ends, one wants
// credentials, and one is good. The blob comes, every fault is named, and
// nobody sees another's password.
func TestEightSources(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]int{
		"the good one last":  {0, 1, 2, 3, 4, 5, 6, 7},
		"the good one first": {7, 6, 5, 4, 3, 2, 1, 0},
	} {
		for size, n := range map[string]int64{"large": 24 * mb, "small": 200_000} {
			t.Run(name+", "+size, func(t *testing.T) {
				t.Parallel()
				eightSources(t, faultserver.RandomBlob(20, n), order)
			})
		}
	}
}

func eightSources(t *testing.T, b faultserver.Blob, order []int) {
	size := b.Size
	elsewhere := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}})
	kinds := []struct {
		name     string
		fault    faultserver.Fault
		password bool
		status   []fetch.Status // what it may end as; none: not asked, or not long enough, is right too
		reason   string
	}{
		{"lies", faultserver.Fault{Lie: &faultserver.Lie{Offset: size / 3, Length: size / 50}}, false,
			[]fetch.Status{fetch.StatusQuarantined}, "wrong bytes"},
		{"stalls", faultserver.Fault{Body: faultserver.BodyStall, After: 50_000}, true, []fetch.Status{fetch.StatusDemoted}, "stalled"},
		{"crawls", faultserver.Fault{Rate: 1}, false, []fetch.Status{fetch.StatusDemoted}, "slow"},
		{"redirects", faultserver.Fault{Redirect: &faultserver.Redirect{To: ""}}, true, []fetch.Status{fetch.StatusDemoted}, "redirect"},
		{"gzip", faultserver.Fault{Gzip: true}, false, []fetch.Status{fetch.StatusDemoted}, "gzip"},
		{"endless", faultserver.Fault{Body: faultserver.BodyEndless}, false, []fetch.Status{fetch.StatusDemoted}, "sent more"},
		{"credentials", faultserver.Fault{Status: 401, Challenge: `Basic realm="x"`}, false, []fetch.Status{fetch.StatusRefused}, "401"},
		{"good", faultserver.Fault{}, true, []fetch.Status{fetch.StatusUsed}, ""},
	}
	var servers []*faultserver.Server
	for _, k := range kinds {
		opts := faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 4 * mb, Faults: []faultserver.Fault{k.fault}}
		servers = append(servers, serve(t, opts))
	}
	uri := func(i int) string {
		u := servers[i].BlobURL(b.Digest)
		if kinds[i].password {
			u = strings.Replace(u, "://", fmt.Sprintf("://user%d:secret%d@", i, i), 1)
		}
		return u
	}
	r := newRig(t)
	result, err := r.Fetch(context.Background(), describe(b), func(yield func(transport.Route, error) bool) {
		for _, i := range order {
			if !yield(transport.Route{URI: uri(i), Source: servers[i].URL(), Origin: "test"}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(detail(err))
	}
	r.check(b)
	if n := result.Served; len(n) == 0 {
		t.Error("nobody served anything")
	}
	for i, k := range kinds {
		rep := r.report(servers[i])
		asked := servers[i].Stats().Requests > 0
		// A small blob is had from the first that is right; others need not
		// have been found out.
		certain := size > mb && k.name != "lies" || k.name == "good" && asked && rep.Bytes > 0
		// What one was slow with another may have taken over before it was set aside.
		if robbed(r.events, servers[i].URL()) && rep.Bytes < size/50 {
			certain = false
		}
		if certain && !slices.Contains(k.status, rep.Status) || rep.Status == k.status[0] && !names(rep.Reason, k.reason) {
			t.Errorf("the one that %s is %s (%s); want %v (%s)", k.name, rep.Status, rep.Reason, k.status, k.reason)
		}
		for _, req := range servers[i].Requests() {
			if req.Authorization && !k.password {
				t.Errorf("the one that %s was sent a password", k.name)
			}
		}
	}
	if elsewhere.Stats().Requests > 0 {
		t.Error("somebody else was asked")
	}
	for _, ev := range r.events {
		if strings.Contains(ev.Source+ev.Detail, "secret") {
			t.Errorf("a password is in event %+v", ev)
		}
	}
}

// robbed reports whether a range was taken over from a source.
func robbed(events []fetch.Event, source string) bool {
	return slices.ContainsFunc(events, func(ev fetch.Event) bool {
		return ev.Type == fetch.EventStolen && strings.HasSuffix(ev.Detail, " from "+source)
	})
}
