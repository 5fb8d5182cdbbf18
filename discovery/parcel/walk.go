package parcel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
	"github.com/waybill-project/waybill/webdoc"
)

// Caps on following descriptors (draft, "Template Descriptor": implementations
// SHOULD place a limit).
const (
	// MaxDepth is how many descriptors may lead to one another.
	MaxDepth = 8
	// MaxFetches is how many documents are asked for in one stage.
	MaxFetches = 32
)

// walk follows template descriptors to what they lead to. It is of one
// goroutine.
type walk struct {
	client *Client
	name   Name
	base   *url.URL
	values map[string]string
	known  []string // variables
	types  []string // what it may lead to, beside further descriptors
	floor  func(*url.URL) netclass.Class

	asked map[string]bool
	notes int
}

func (c *Client) newWalk(n Name, base *url.URL, types []string) *walk {
	return &walk{client: c, name: n, base: base, values: n.values(), known: discoveryVariables, types: types, floor: n.floor, asked: map[string]bool{}}
}

// read tells that the document at where was read, ignore what of it isn't used;
// both a bounded number of times.
func (w *walk) read(where *url.URL) {
	if w.notes++; w.notes <= MaxNotes {
		w.client.note(shown(where), "read")
	}
}

func (w *walk) ignore(where *url.URL, format string, args ...any) {
	if w.notes++; w.notes <= MaxNotes {
		w.client.ignore(shown(where), format, args...)
	}
}

// first hands what d leads to to use, one alternative after the other until it
// takes one.
func (w *walk) first(ctx context.Context, d Descriptor, use func(*webdoc.Document) error) error {
	return w.follow(ctx, d, 0, use)
}

// follow is first, depth descriptors down.
func (w *walk) follow(ctx context.Context, d Descriptor, depth int, use func(*webdoc.Document) error) error {
	if d.MediaType != MediaTypeDescriptor && !slices.Contains(w.types, d.MediaType) {
		return fmt.Errorf("leads to media type %q; want %s", clip(d.MediaType), strings.Join(w.types, " or "))
	}
	var failures errorList
	for _, t := range d.Templates {
		doc, err := w.get(ctx, t, d.MediaType)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err != nil:
		case d.MediaType == MediaTypeDescriptor:
			err = w.nested(ctx, doc, depth, use)
		default:
			err = use(doc)
		}
		if err == nil {
			w.read(doc.URL)
			return nil
		}
		where := w.base
		if doc != nil {
			where = doc.URL
		}
		w.ignore(where, "template %q not used: %v", target.Shown(t.String()), err)
		failures.add(err)
	}
	return failures.err()
}

// nested follows the descriptor that a document holds.
func (w *walk) nested(ctx context.Context, doc *webdoc.Document, depth int, use func(*webdoc.Document) error) error {
	d, err := w.descriptor(doc, depth)
	if err != nil {
		return err
	}
	return w.follow(ctx, d, depth+1, use)
}

// descriptor reads the descriptor that a document holds.
func (w *walk) descriptor(doc *webdoc.Document, depth int) (Descriptor, error) {
	if depth+1 >= MaxDepth {
		return Descriptor{}, fmt.Errorf("descriptors lead to one another more than %d times", MaxDepth)
	}
	return parseDescriptor(doc.Content, w.known, func(text string) { w.ignore(doc.URL, "%s", text) })
}

// get gets the document that a template leads to. Each is asked for once, so
// descriptors that lead back to one another end.
func (w *walk) get(ctx context.Context, t *uritmpl.Template, mediaType string) (*webdoc.Document, error) {
	u, err := t.Resolve(w.base, w.values)
	if err != nil {
		return nil, err
	}
	// A document says what is what, and nothing verifies it, so it has to come
	// over https. ftp and magnet are for blobs.
	if err := target.Check(u, "https"); err != nil {
		return nil, err
	}
	key := u.String()
	switch {
	case w.asked[key]:
		return nil, errors.New("leads to a document that was asked for already")
	case len(w.asked) >= MaxFetches:
		return nil, fmt.Errorf("more than %d documents", MaxFetches)
	}
	w.asked[key] = true
	doc, err := w.client.docs.Get(ctx, webdoc.Request{URL: key, Max: MaxDocument, Floor: w.floor(u)})
	if err != nil {
		return nil, err
	}
	if err := checkServed(doc, mediaType); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, shown(doc.URL), "%w", err)
	}
	return doc, nil
}

// floor is the narrowest network a URL of a document may lead to: that of the
// internet, except at the host the user named.
func (n Name) floor(u *url.URL) netclass.Class {
	if u.Scheme == "https" && strings.EqualFold(hostPort(u), hostPort(n.origin())) {
		return netclass.Loopback
	}
	return netclass.Public
}

// hostPort returns host and port of an https URL.
func hostPort(u *url.URL) string {
	if u.Port() == "" {
		return u.Host + ":443"
	}
	return u.Host
}
