package abd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/webdoc"
)

// Hosts returns the hosts that io.abd.https-dns asks about an identifier, in
// order: the identifier read backwards, and its parents up to, but without, the
// public suffix.
func Hosts(identifier string) []string {
	labels := strings.Split(strings.ToLower(identifier), ".")
	if strings.Trim(labels[0], "0123456789") == "" {
		return nil // an address, or something that could be taken for one
	}
	slices.Reverse(labels)
	var hosts []string
	for i := range labels {
		host := strings.Join(labels[i:], ".")
		if slices.ContainsFunc(labels[i:], notLabel) {
			continue
		}
		if suffix, _ := publicsuffix.PublicSuffix(host); suffix == host {
			break
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// notLabel reports whether s is no label of a host name (RFC 1123 §2.1).
func notLabel(s string) bool { return len(s) > 63 || strings.Contains(s, "_") }

// URL returns what is asked of a host about n: labels are passed on as a query,
// so that it may choose.
func (n Name) URL(host string) string {
	u := url.URL{Scheme: "https", Host: host, Path: "/.well-known/abd-index/" + n.Identifier}
	query := url.Values{}
	for key, value := range n.Labels {
		query.Set(key, value)
	}
	u.RawQuery = query.Encode() // sorted by key
	return u.String()
}

// httpsDNS is the strategy io.abd.https-dns.
func (c *Client) httpsDNS(ctx context.Context, n Name) ([]Candidate, error) {
	hosts := Hosts(n.Identifier)
	if len(hosts) == 0 {
		return nil, fmt.Errorf("%w: the identifier read backwards is no host below a public suffix", resolve.ErrNotFound)
	}
	var kept error
	for _, host := range hosts {
		entries, base, err := c.ask(ctx, n, host)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			by := resolve.Testimony{Resolver: "abd", URI: shown(base), Time: time.Now()}
			return c.candidates(entries, n, by, func(mirror string) (target.Target, error) { return readMirror(base, mirror) })
		}
		if where := "https://" + host + "/.well-known/abd-index/" + n.Identifier; errors.Is(err, transport.ErrNotFound) {
			c.note(discovery.Note{Where: where, Absent: true}, "nothing there: %v", err)
		} else {
			c.ignore(where, "not used: %v", err)
		}
		if kept == nil || errors.Is(kept, transport.ErrNotFound) && !errors.Is(err, transport.ErrNotFound) {
			kept = err
		}
	}
	if errors.Is(kept, transport.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", resolve.ErrNotFound, kept)
	}
	return nil, kept
}

// ask gets the metadata of one host, and where it was in the end.
func (c *Client) ask(ctx context.Context, n Name, host string) ([]Entry, *url.URL, error) {
	doc, err := c.docs.Get(ctx, webdoc.Request{URL: n.URL(host), Accept: "application/json", Max: MaxMetadata})
	if err != nil {
		return nil, nil, err
	}
	entries, err := ParseMetadata(doc.Content, func(text string) { c.ignore(shown(doc.URL), "%s", text) })
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", shown(doc.URL), err)
	}
	c.note(discovery.Note{Where: shown(doc.URL)}, "read: %d entries", len(entries))
	return entries, doc.URL, nil
}

// readMirror reads a mirror of a document from base. A reference without a
// scheme is relative to the document (RFC 3986 §5).
func readMirror(base *url.URL, mirror string) (target.Target, error) {
	if u, err := url.Parse(mirror); err == nil && !u.IsAbs() && mirror != "" {
		return target.Parse(base.ResolveReference(u).String())
	}
	return target.Parse(mirror)
}

// shown returns a URL fit to be shown: its query may hold a signature.
func shown(u *url.URL) string {
	c := *u
	c.RawQuery, c.ForceQuery, c.User = "", false, nil
	return c.String()
}
