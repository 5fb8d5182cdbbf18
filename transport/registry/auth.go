package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// grantTimeout bounds what it takes to find a credential and fetch a
	// token, since that is done for all who wait, not for one context.
	grantTimeout = time.Minute
	// maxGrants bounds how many repositories' tokens are kept.
	maxGrants = 4096
	// maxDemands bounds how many registries' challenges are kept.
	maxDemands = 1024
)

// authorizer knows what to put into Authorization for a repository.
type authorizer struct {
	credentials Credentials
	flight      singleflight.Group

	mu     sync.Mutex
	grants map[grantKey]grant
	// demands holds each registry's last challenge, so that the next
	// repository need not be refused first.
	demands map[demandKey]demand
}

// demandKey is who demands: the origin (scheme, host and port) and the place,
// since a mirror may want something else for each namespace, and what was
// obtained where certificates are verified isn't sent where they are not; and
// who named it, since tokens obtained with credentials aren't for routes of
// others, nor is the network that others may not name.
type demandKey struct {
	origin string
	place  Place
	remote transport.Remote
}

func newDemandKey(repo repository, at endpoint) demandKey {
	return demandKey{at.base, repo.Place, repo.remote}
}

// grantKey is what a grant is good for.
type grantKey struct {
	demandKey
	scope string
}

// grant is a value of Authorization.
type grant struct {
	value   string
	expires time.Time // zero: when it is refused
}

// demand is a challenge, and the network it came from.
type demand struct {
	challenge
	class netclass.Class
}

func newAuthorizer(store Credentials) *authorizer {
	return &authorizer{
		credentials: store,
		grants:      make(map[grantKey]grant), demands: make(map[demandKey]demand),
	}
}

// remembered returns what to send with the first attempt at a repository: a
// grant that still holds, a new one where the registry is known to want one, or
// "".
func (a *authorizer) remembered(ctx context.Context, repo repository, at endpoint) (string, error) {
	key := newDemandKey(repo, at)
	a.mu.Lock()
	g := a.grants[grantKey{key, repo.scope()}]
	d, known := a.demands[key]
	a.mu.Unlock()
	switch {
	case g.value != "" && (g.expires.IsZero() || time.Now().Before(g.expires)):
		return g.value, nil
	case known:
		return a.grant(ctx, repo, at, d)
	}
	return "", nil
}

// answer returns what to send after at was answered 401, cause. It is that
// cause where there is nothing better to send.
func (a *authorizer) answer(ctx context.Context, repo repository, at endpoint, status *httpclient.StatusError, cause error) (string, error) {
	challenges, err := parseChallenges(status.Header.Values("WWW-Authenticate"))
	if err != nil {
		return "", malformed(at.base, "%w", err)
	}
	d := demand{class: status.Class}
	for _, ch := range challenges {
		if ch.scheme == "basic" || ch.scheme == "bearer" {
			d.challenge = ch
			break
		}
	}
	if d.scheme == "" {
		return "", cause
	}
	key := grantKey{newDemandKey(repo, at), repo.scope()}
	a.mu.Lock()
	g := a.grants[key]
	if g.value == at.authorization {
		// Refused: it expired or was revoked.
		delete(a.grants, key)
		g = grant{}
	}
	if len(a.demands) >= maxDemands {
		clear(a.demands)
	}
	a.demands[key.demandKey] = d
	a.mu.Unlock()
	if g.value != "" {
		// Somebody else renewed it meanwhile.
		return g.value, nil
	}
	value, err := a.grant(ctx, repo, at, d)
	if err == nil && (value == "" || value == at.authorization) {
		return "", cause
	}
	return value, err
}

// grant obtains and remembers a grant; "" means that there is no credential to
// obtain one with. All who want the same wait for one.
func (a *authorizer) grant(ctx context.Context, repo repository, at endpoint, d demand) (string, error) {
	result := a.flight.DoChan(fmt.Sprint(at.base, " ", repo.uri(), " ", repo.remote), func() (any, error) {
		// Whoever came first may leave without taking the others' token along.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grantTimeout)
		defer cancel()
		g, err := a.obtain(ctx, repo, at, d)
		if ctx.Err() != nil {
			err = transport.Errorf(transport.ErrTemporary, at.base, "logging in took longer than %v", grantTimeout)
		}
		if err == nil && g.value != "" {
			a.remember(grantKey{newDemandKey(repo, at), repo.scope()}, g)
		}
		return g.value, err
	})
	select {
	case <-ctx.Done():
		return "", httpclient.ContextError(ctx)
	case r := <-result:
		value, _ := r.Val.(string)
		return value, r.Err
	}
}

// remember keeps a grant. When there are too many, those that expired go, and
// if none did, all: they can be had again.
func (a *authorizer) remember(key grantKey, g grant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.grants) >= maxGrants {
		now := time.Now()
		for k, old := range a.grants {
			if !old.expires.IsZero() && now.After(old.expires) {
				delete(a.grants, k)
			}
		}
		if len(a.grants) >= maxGrants {
			clear(a.grants)
		}
	}
	a.grants[key] = g
}

// obtain answers a demand.
func (a *authorizer) obtain(ctx context.Context, repo repository, at endpoint, d demand) (grant, error) {
	var cred credentials.Credential
	if a.credentials != nil && repo.remote == 0 {
		host := repo.Host
		if repo.Server() == hubServer {
			host = hub
		}
		var err error
		if cred, err = a.credentials.Get(ctx, host, repo.name); err != nil {
			return grant{}, &transport.Error{Kind: transport.ErrUnauthorized, URI: at.base, Err: err}
		}
	}
	if d.scheme == "basic" {
		if cred.Username == "" {
			return grant{}, nil
		}
		return grant{value: basic(cred)}, nil
	}
	if cred.RegistryToken != "" {
		return grant{value: "Bearer " + cred.RegistryToken}, nil
	}
	return a.fetchToken(ctx, repo, at, d, cred)
}

// basic returns the credentials of Basic authentication (RFC 7617 §2).
func basic(c credentials.Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// checkRealm returns the URL of the token service a registry at origin names.
func checkRealm(origin, realm string) (*url.URL, error) {
	refuse := func(why string) (*url.URL, error) {
		return nil, transport.Errorf(transport.ErrRefused, origin, "token service %s", why)
	}
	u, err := url.Parse(realm)
	switch {
	case realm == "", err != nil, u.Hostname() == "":
		return nil, malformed(origin, "challenge names no token service, or not by a URL")
	case u.User != nil:
		return refuse("is named with credentials in its URL")
	case u.Scheme == "https", u.Scheme == "http" && isHTTP(origin):
		return u, nil
	}
	return refuse(u.Scheme + "://" + u.Host + " is not https, the registry is")
}

// isHTTP reports whether an origin is plain http.
func isHTTP(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "http"
}

// tokenFailure returns what it means for a blob that its registry's token
// service failed. Not having found the service, above all, is not the blob's
// absence.
func tokenFailure(err error) error {
	var te *transport.Error
	if !errors.As(err, &te) {
		return err
	}
	kind := te.Kind
	if kind == transport.ErrNotFound {
		kind = transport.ErrUnauthorized
	}
	// A 4xx from a token service is about what it was asked with.
	var status *httpclient.StatusError
	if errors.As(err, &status) && kind == transport.ErrPermanent && status.Code == http.StatusBadRequest {
		kind = transport.ErrUnauthorized
	}
	return &transport.Error{Kind: kind, URI: te.URI, RetryAfter: te.RetryAfter, Err: errTokenService{te.Err}}
}

// errTokenService says which service it was that failed.
type errTokenService struct{ err error }

func (e errTokenService) Error() string {
	if e.err == nil {
		return "token service failed"
	}
	return "token service " + e.err.Error()
}
