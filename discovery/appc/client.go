package appc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/webdoc"
)

// Options configures a [Client].
type Options struct {
	// Docs gets the pages. Required.
	Docs *webdoc.Client
	// Note, where set, is told of each page that was read and of each page and
	// tag that was not used.
	Note func(discovery.Note)
}

// Client discovers images. It is safe for concurrent use where Note is.
type Client struct {
	docs *webdoc.Client
	tell func(discovery.Note)
}

// New returns a client.
func New(o Options) *Client { return &Client{docs: o.Docs, tell: o.Note} }

func (c *Client) note(n discovery.Note, format string, args ...any) {
	if c.tell != nil {
		n.Text = fmt.Sprintf(format, args...)
		c.tell(n)
	}
}

// ignore tells what isn't used of what stands at where.
func (c *Client) ignore(where, format string, args ...any) {
	c.note(discovery.Note{Where: where, Ignored: true}, format, args...)
}

// Candidate is a place where the image may be.
type Candidate struct {
	// Target is what the template leads to; it is always Remote.
	target.Target
	// Template is the one it came of.
	Template string
	// Labels is how many of the name's labels it used.
	Labels int
	// By says who named it.
	By resolve.Testimony
}

// Discover returns where the image may be, the best match first; at least one
// where there is no error. A name nobody knows is [resolve.ErrNotFound]; other
// errors are those of [webdoc.Client.Get].
func (c *Client) Discover(ctx context.Context, n Name) ([]Candidate, error) {
	for _, uri := range n.URLs() {
		doc, err := c.docs.Get(ctx, webdoc.Request{URL: uri, Accept: "text/html", Max: MaxPage})
		if err != nil && ctx.Err() == nil && isElsewhere(err) {
			c.note(discovery.Note{Where: withoutQuery(uri), Absent: true}, "no page: %v", err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("appc %s: %w", n.Name, err)
		}
		all, err := c.candidates(n, doc)
		if err != nil {
			return nil, fmt.Errorf("appc %s: %s: %w", n.Name, shown(doc.URL), err)
		}
		if len(all) > 0 {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w: appc %s: no page at it or above has an ac-discovery tag that can be used", resolve.ErrNotFound, n.Name)
}

// isElsewhere reports whether an answer sends to the parent path: 4xx, but for
// those that only say to ask later.
func isElsewhere(err error) bool {
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return false
	}
	return status.Code >= 400 && status.Code < 500 && status.Code != http.StatusTooManyRequests && status.Code != http.StatusRequestTimeout
}

// candidates returns what the tags of a page mean for n.
func (c *Client) candidates(n Name, doc *webdoc.Document) ([]Candidate, error) {
	where := shown(doc.URL)
	tags, err := ParsePage(doc.Content)
	if err != nil {
		return nil, err
	}
	c.note(discovery.Note{Where: where}, "read: %d ac-discovery tags", len(tags))
	var all []Candidate
	for _, tag := range tags {
		candidate, err := tag.candidate(n)
		if err != nil {
			c.ignore(where, "template %q not used: %v", target.Shown(tag.Template), err)
			continue
		}
		candidate.By = resolve.Testimony{Resolver: "appc", URI: where, Time: time.Now()}
		all = append(all, candidate)
	}
	slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(b.Labels, a.Labels) })
	return all, nil
}

func (t Tag) candidate(n Name) (Candidate, error) {
	if !strings.HasPrefix(n.Name, t.Prefix) {
		return Candidate{}, fmt.Errorf("it is for names that begin with %q", clip(t.Prefix))
	}
	uri, labels, err := t.Expand(n)
	if err != nil {
		return Candidate{}, err
	}
	leads, err := target.Parse(uri)
	if err != nil {
		return Candidate{}, err
	}
	return Candidate{Target: leads, Template: t.Template, Labels: labels}, nil
}

// shown returns a URL fit to be shown: its query may hold a signature.
func shown(u *url.URL) string {
	c := *u
	c.RawQuery, c.ForceQuery, c.User = "", false, nil
	return c.String()
}

func withoutQuery(uri string) string {
	before, _, _ := strings.Cut(uri, "?")
	return before
}
