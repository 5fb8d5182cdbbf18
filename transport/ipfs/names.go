package ipfs

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/boxo/ipns"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// maxNames bounds how many names may lead to one another.
	maxNames = 16
	// maxTXT bounds the TXT records of a name that are looked at.
	maxTXT = 100
	// A name is looked up again after as long as its record says, within
	// these. DNSLink names, whose TTL Go does not tell, after the least.
	leastTTL, mostTTL = time.Minute, 5 * time.Minute
)

// names remembers what names mean, so that a pull of many blobs asks once.
type names struct {
	mu sync.Mutex
	of map[string]resolved
}

type resolved struct {
	to    place
	until time.Time
}

// resolveName returns the content that a name leads to, in the end.
func (t *Transport) resolveName(ctx context.Context, s *session, name string) (place, error) {
	t.names.mu.Lock()
	known, ok := t.names.of[name]
	t.names.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.to, nil
	}
	ttl, to := mostTTL, place{name: name}
	for range maxNames {
		next, fresh, err := t.followName(ctx, s, to.name)
		if err != nil {
			return place{}, err
		}
		ttl = min(ttl, max(fresh, leastTTL))
		next.path = append(next.path, to.path...)
		if len(next.path) > maxSegments {
			return place{}, s.fail("%s leads to a path of more than %d directories", name, maxSegments)
		}
		if to = *next; to.name == "" {
			t.rememberName(name, resolved{to, time.Now().Add(ttl)})
			return to, nil
		}
	}
	return place{}, s.fail("%s leads to another name more than %d times", name, maxNames)
}

func (t *Transport) rememberName(name string, r resolved) {
	t.names.mu.Lock()
	defer t.names.mu.Unlock()
	if t.names.of == nil || len(t.names.of) >= maxRemembered {
		t.names.of = map[string]resolved{}
	}
	t.names.of[name] = r
}

// followName returns what one name leads to, and for how long.
func (t *Transport) followName(ctx context.Context, s *session, name string) (*place, time.Duration, error) {
	key, err := ipns.NameFromString(name)
	if err != nil {
		to, err := t.dnslink(ctx, s, name)
		return to, leastTTL, err
	}
	record, err := t.ipnsRecord(ctx, s, key)
	if err != nil {
		return nil, 0, err
	}
	value, err := record.Value()
	if err != nil {
		return nil, 0, s.fail("IPNS record of %s: %w", name, err)
	}
	to, err := parseTarget(value.String())
	if err != nil {
		return nil, 0, s.fail("IPNS record of %s: %w", name, err)
	}
	ttl, err := record.TTL()
	if err != nil {
		ttl = leastTTL // a record need not have one
	}
	return to, ttl, nil
}

// parseTarget reads what a name leads to: /ipfs/CID[/PATH] or
// /ipns/NAME[/PATH].
func parseTarget(s string) (*place, error) {
	if len(s) > maxURI {
		return nil, fmt.Errorf("leads to a path of more than %d bytes", maxURI)
	}
	parts := strings.SplitN(s, "/", 4)
	if len(parts) < 3 || parts[0] != "" {
		return nil, fmt.Errorf("leads to %.80q, not /ipfs/CID or /ipns/NAME", s)
	}
	p := &place{}
	var err error
	if len(parts) == 4 {
		if p.path, err = splitPath(parts[3]); err != nil {
			return nil, err
		}
	}
	switch parts[1] {
	case SchemeIPFS:
		p.root, err = parseCID(parts[2])
	case SchemeIPNS:
		p.name, err = parseName(parts[2])
	default:
		err = fmt.Errorf("leads to %.80q, not /ipfs/CID or /ipns/NAME", s)
	}
	return p, err
}

// dnslink looks a domain name up (https://dnslink.dev): the TXT record
// "dnslink=…" of _dnslink.NAME. Of several the first in alphabetical order
// counts, so that the answer's order doesn't.
func (t *Transport) dnslink(ctx context.Context, s *session, name string) (*place, error) {
	records, err := t.options.Resolver.LookupTXT(ctx, "_dnslink."+name)
	if ctx.Err() != nil {
		return nil, httpclient.ContextError(ctx)
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, transport.Errorf(transport.ErrNotFound, s.uri, "%s has no DNSLink: no TXT record at _dnslink.%[1]s", name)
	case err != nil:
		return nil, transport.Errorf(transport.ErrTemporary, s.uri, "DNSLink of %s: %w", name, err)
	}
	var values []string
	for _, r := range records[:min(len(records), maxTXT)] {
		if v, ok := strings.CutPrefix(strings.TrimSpace(r), "dnslink="); ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return nil, transport.Errorf(transport.ErrNotFound, s.uri, "%s has no DNSLink: no TXT record at _dnslink.%[1]s begins with dnslink=", name)
	}
	to, err := parseTarget(slices.Min(values))
	if err != nil {
		return nil, s.fail("DNSLink of %s: %w", name, err)
	}
	return to, nil
}

// ipnsRecord asks all gateways and routers at once for the record of a key and
// returns the newest of those that are valid: an old one is signed as well.
func (t *Transport) ipnsRecord(ctx context.Context, s *session, key ipns.Name) (*ipns.Record, error) {
	type answer struct {
		record *ipns.Record
		err    error
	}
	var places []func(context.Context) (*ipns.Record, error)
	for _, g := range s.gateways {
		places = append(places, func(ctx context.Context) (*ipns.Record, error) {
			return t.askRecord(ctx, g.endpoint, "/ipns/"+key.String()+"?format=ipns-record", key)
		})
	}
	for _, r := range t.routers {
		places = append(places, func(ctx context.Context) (*ipns.Record, error) {
			return t.askRecord(ctx, r, "/routing/v1/ipns/"+key.String(), key)
		})
	}
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make(chan answer, len(places))
	for _, ask := range places {
		go func() {
			record, err := ask(limited)
			answers <- answer{record, err}
		}()
	}
	var best *ipns.Record
	var failures []error
	for range places {
		a := <-answers
		if a.err != nil {
			failures = append(failures, a.err)
			continue
		}
		if best == nil {
			// Others may know a newer one, but not for long.
			defer time.AfterFunc(recordPatience, func() { cancel(errSilent) }).Stop()
		}
		if best == nil || newer(a.record, best) {
			best = a.record
		}
	}
	if best == nil {
		return nil, s.nobody(ctx, "IPNS record of "+key.String(), failures)
	}
	return best, nil
}

// recordPatience is how long others may take once somebody gave a record.
const recordPatience = 2 * time.Second

// newer reports whether a is newer than b (IPNS specification: the higher
// sequence number, then the later end).
func newer(a, b *ipns.Record) bool {
	sa, errA := a.Sequence()
	sb, errB := b.Sequence()
	if errA != nil || errB != nil || sa != sb {
		return errB != nil || sa > sb
	}
	ea, _ := a.Validity()
	eb, _ := b.Validity()
	return ea.After(eb)
}

// askRecord asks one place for a record and verifies it: its signature, by the
// key that is the name, and that it has not expired.
func (t *Transport) askRecord(ctx context.Context, e endpoint, path string, key ipns.Name) (*ipns.Record, error) {
	resp, err := t.client.Do(ctx, &httpclient.Request{
		URL: e.base + path, Header: header(mediaRecord), Authorization: e.authorization,
	})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != mediaRecord {
		return nil, transport.Errorf(transport.ErrPermanent, e.base, "answered %q where %s was asked", httpclient.OneLine(got), mediaRecord)
	}
	content, err := readAll(resp, int64(ipns.MaxRecordSize))
	if err != nil {
		return nil, (&gateway{endpoint: e}).readError(ctx, "IPNS record", err)
	}
	record, err := ipns.UnmarshalRecord(content)
	if err == nil {
		err = ipns.ValidateWithName(record, key)
	}
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, e.base, "IPNS record of %s: %w", key, err)
	}
	return record, nil
}
