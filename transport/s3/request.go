package s3

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
)

// maxSkew is how far off a clock may be for us to sign by the server's: with
// more, something else is wrong, and a signature of next year would be good
// next year.
const maxSkew = 24 * time.Hour

// site is what is learnt about: a bucket at an endpoint, asked under a
// profile.
type site struct {
	endpoint, bucket, profile string
}

// learnt is what the answers of a site have taught.
type learnt struct {
	region  string        // "" nothing
	skew    time.Duration // how far its clock is ahead of ours
	machine bool          // the machine's own credentials are wanted
}

// maxKnown bounds how many sites, and how many profiles, are remembered. Of
// more, each is learnt anew.
const maxKnown = 10_000

// request is one object being asked for, with what its answers have taught.
type request struct {
	t     *Transport
	place place
	key   string
	size  int64 // what the object is expected to have, or -1

	account  *account
	explicit *url.URL // the endpoint somebody named, or nil
	site     site
	learnt   learnt

	// What the last try was made with.
	endpoint *url.URL
	region   string
	creds    aws.Credentials // none where anonymous
	signed   bool

	fixed map[string]bool // what was put right already
}

// newRequest reads the place and the account it is asked under.
func (t *Transport) newRequest(ctx context.Context, uri, name string, size int64) (*request, error) {
	p, err := parsePlace(uri)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, schemeOnly, "%w", err)
	}
	key, err := p.key(name)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, p.shownURI(""), "%w", err)
	}
	a, err := t.accounts.get(ctx, p.profile)
	switch {
	case ctx.Err() != nil:
		return nil, httpclient.ContextError(ctx)
	case err != nil:
		return nil, transport.Errorf(transport.ErrUnauthorized, p.shownURI(key), "%w", err)
	}
	r := &request{t: t, place: p, key: key, size: size, account: a, explicit: p.endpoint, fixed: map[string]bool{}}
	if r.explicit == nil {
		r.explicit = a.endpoint
	}
	if err := p.checkStyle(r.explicit); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, p.shownURI(key), "%w", err)
	}
	r.site = site{bucket: p.bucket, profile: p.profile}
	if r.explicit != nil {
		r.site.endpoint = r.explicit.String()
	}
	r.learnt = t.recall(r.site)
	return r, nil
}

// do calls try with a request for the object until it succeeds, or fails in a
// way that asking differently can't put right.
func (r *request) do(ctx context.Context, try func(httprange.Request) error) error {
	for {
		hr, err := r.prepare(ctx)
		if err != nil {
			return err
		}
		err = try(hr)
		refusal := readAnswer(err)
		if refusal == nil {
			return err
		}
		learnt := r.learn(ctx, refusal)
		switch {
		case ctx.Err() != nil:
			return httpclient.ContextError(ctx)
		case !learnt:
			return r.explain(refusal, err)
		}
		r.t.remember(r.site, r.learnt)
	}
}

// prepare chooses endpoint, region and credentials.
func (r *request) prepare(ctx context.Context) (httprange.Request, error) {
	r.region = defaultRegion
	named := ""
	if r.explicit != nil {
		named = regionOf(r.explicit.Hostname())
	}
	for _, region := range []string{r.account.config.Region, named, r.place.region, r.learnt.region} {
		if validRegion(region) {
			r.region = region
		}
	}
	r.endpoint = r.explicit
	if r.follows() {
		r.endpoint = amazon(r.region)
		if r.explicit != nil {
			r.endpoint.Scheme = r.explicit.Scheme
		}
	}
	hr := httprange.Request{URL: address(&r.place, r.endpoint, r.key), Size: -1, Sign: unsigned}
	if r.signed = false; r.place.anonymous {
		return hr, nil
	}
	creds, err := r.account.credentials(ctx, r.learnt.machine)
	switch {
	case errors.Is(err, errNoCredentials):
		return hr, nil
	case ctx.Err() != nil:
		return hr, httpclient.ContextError(ctx)
	case err != nil:
		return hr, transport.Errorf(transport.ErrUnauthorized, r.place.shownURI(r.key),
			"no credentials from %s: %w", r.account.source(creds), err)
	}
	r.creds, r.signed = creds, true
	skew := r.learnt.skew
	hr.Sign = sign(r.account.signer, creds, r.region, func() time.Time { return time.Now().Add(skew) })
	return hr, nil
}

// follows reports whether the endpoint is Amazon's for whatever region the
// bucket is in: nobody named one, or the one named is such a one.
func (r *request) follows() bool {
	if r.explicit == nil {
		return true
	}
	host := r.explicit.Host
	region := regionOf(host)
	return r.explicit.Path == "" && (host == "s3.amazonaws.com" || region != "" && host == amazon(region).Host)
}

// learn takes from a refusal what can be done better, and reports whether there
// is anything. Nothing is done twice, so a server can't keep us asking.
func (r *request) learn(ctx context.Context, refusal *answer) bool {
	now := time.Now()
	skew, skewed := refusal.skew(now)
	switch {
	case skewed && skew.Abs() <= maxSkew && r.once("clock"):
		r.learnt.skew = skew
	case refusal.region != "" && refusal.region != r.region && r.once("region"):
		r.learnt.region = refusal.region
	case r.signed && refusal.stale() && r.once("credentials"):
		return r.renew(ctx)
	case !r.signed && !r.place.anonymous && isAmazon(r.endpoint.Hostname()) && refused(refusal) && r.once("machine"):
		r.learnt.machine = r.account.askMachine(ctx)
		return r.learnt.machine
	default:
		return false
	}
	return true
}

// once reports whether what is called so has not been put right before.
func (r *request) once(what string) bool {
	before := r.fixed[what]
	r.fixed[what] = true
	return !before
}

// refused reports whether credentials might have helped.
func refused(a *answer) bool {
	return a.status.Code == http.StatusForbidden || a.status.Code == http.StatusUnauthorized
}

// renew reads the account anew, and reports whether it has other credentials
// now.
func (r *request) renew(ctx context.Context) bool {
	r.t.accounts.forget(r.account)
	a, err := r.t.accounts.get(ctx, r.place.profile)
	if err != nil {
		return false // what the server said stays the reason
	}
	creds, err := a.credentials(ctx, r.learnt.machine)
	if err != nil || creds.AccessKeyID == r.creds.AccessKeyID && creds.SessionToken == r.creds.SessionToken {
		return false
	}
	r.account = a
	return true
}

// recall returns what is known about a site.
func (t *Transport) recall(s site) learnt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[s]
}

// remember keeps what was learnt about a site.
func (t *Transport) remember(s site, l learnt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.known[s]; ok || len(t.known) < maxKnown {
		t.known[s] = l
	}
}
