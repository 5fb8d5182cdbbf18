package registry

import (
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// targetLife is how long a redirect target is used without asking the
	// registry again. Presigned URLs live for minutes.
	targetLife = 60 * time.Second
	// maxTargets bounds how many are remembered; more are not.
	maxTargets = 1024
)

// targets remembers where a registry redirected the readers of a blob, so that
// the many ranges of a large blob cost it one request.
type targets struct {
	mu sync.Mutex
	m  map[targetKey]target
}

type targetKey struct {
	repo repository
	path string
}

// target is where a blob was found, and what the redirects there allow.
type target struct {
	url     string
	floor   netclass.Class
	expires time.Time
}

// request returns r at the target. It carries no credentials.
func (t target) request(r httprange.Request) httprange.Request {
	r.URL, r.Floor, r.Authorization = t.url, t.floor, ""
	return r
}

// get returns the target for key, unless it is too old.
func (ts *targets) get(key targetKey) (target, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t, ok := ts.m[key]
	return t, ok && time.Now().Before(t.expires)
}

// put remembers where resp came from.
func (ts *targets) put(key targetKey, repo repository, resp *httpclient.Response) {
	if !elsewhere(repo, resp.URL) {
		return
	}
	now := time.Now()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.m == nil {
		ts.m = make(map[targetKey]target)
	}
	if len(ts.m) >= maxTargets {
		for k, t := range ts.m {
			if now.After(t.expires) {
				delete(ts.m, k)
			}
		}
	}
	if len(ts.m) < maxTargets {
		ts.m[key] = target{url: resp.URL.String(), floor: resp.Floor, expires: now.Add(targetLife)}
	}
}

// drop forgets t, unless another took its place.
func (ts *targets) drop(key targetKey, t target) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.m[key] == t {
		delete(ts.m, key)
	}
}
