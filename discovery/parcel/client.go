package parcel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/webdoc"
)

// Options configures a [Client].
type Options struct {
	// Docs gets the documents. Required.
	Docs *webdoc.Client
	// Note, where set, is told of each document that was read and of each
	// document, entry and template that was not used, [MaxNotes] of one
	// document. It may be called from many goroutines.
	Note func(discovery.Note)
}

// Client asks hosts for parcels. It is safe for concurrent use.
type Client struct {
	docs *webdoc.Client
	tell func(discovery.Note)

	mu   sync.Mutex
	told map[discovery.Note]bool
}

// New returns a client.
func New(o Options) *Client {
	return &Client{docs: o.Docs, tell: o.Note, told: map[discovery.Note]bool{}}
}

// maxTold is how many notes are remembered, in order not to be told again for
// each of an image's blobs.
const maxTold = 1000

// note tells what was read at where, ignore what there isn't used.
func (c *Client) note(where, format string, args ...any) {
	c.once(discovery.Note{Where: where, Text: fmt.Sprintf(format, args...)})
}

func (c *Client) ignore(where, format string, args ...any) {
	c.once(discovery.Note{Where: where, Text: fmt.Sprintf(format, args...), Ignored: true})
}

func (c *Client) once(n discovery.Note) {
	if c.tell == nil {
		return
	}
	c.mu.Lock()
	again := c.told[n]
	if len(c.told) >= maxTold {
		clear(c.told)
	}
	c.told[n] = true
	c.mu.Unlock()
	if !again {
		c.tell(n)
	}
}

// Distribution is a plain distribution that was found for a name.
type Distribution struct {
	Plain
	// Name is what it was found for.
	Name Name
	// URL is where it was read in the end, and what the references in it are
	// resolved against.
	URL *url.URL

	client *Client
	floor  netclass.Class // allowed for URL
}

// Image is what a name means.
type Image struct {
	// Resolution is the index: what its content is, its digest having been
	// computed here, and who said so.
	resolve.Resolution
	// Index is the content, parsed: its Manifests are the entries.
	Index *image.Document
	// Distribution says where the blobs are.
	Distribution *Distribution
}

// Resolve finds out what n means. A host that publishes nothing about it is
// [resolve.ErrNotFound]; other errors are those of [webdoc.Client.Get] and of
// documents that can't be used, which were all noted one by one.
func (c *Client) Resolve(ctx context.Context, n Name) (*Image, error) {
	d, err := c.Discover(ctx, n)
	if err != nil {
		return nil, err
	}
	return d.Image(ctx)
}

// Discover finds the distribution for n: the stages 0 and 1 of the draft. The
// errors are those of Resolve.
func (c *Client) Discover(ctx context.Context, n Name) (*Distribution, error) {
	root, start, err := c.start(ctx, n)
	if err != nil {
		return nil, c.wrap(n, err)
	}
	d := &Distribution{Name: n, client: c}
	// References of this stage are relative to the root of the host (draft,
	// "Distribution URL"), which says http; that would be a downgrade.
	w := c.newWalk(n, root, []string{MediaTypeDistribution})
	err = w.first(ctx, start, func(doc *webdoc.Document) (err error) {
		d.URL, d.floor = doc.URL, doc.Floor
		d.Plain, err = ParseDistribution(doc.Content, func(text string) { c.ignore(shown(doc.URL), "%s", text) })
		return err
	})
	if err != nil {
		return nil, c.wrap(n, err)
	}
	return d, nil
}

// start negotiates a version and reads the descriptor everything begins with.
func (c *Client) start(ctx context.Context, n Name) (*url.URL, Descriptor, error) {
	root := n.origin()
	versions, err := c.versions(ctx, root)
	if err != nil {
		return nil, Descriptor{}, err
	}
	var failures errorList
	for _, v := range versions {
		u := root.JoinPath(".well-known", "x-parcel."+v)
		doc, err := c.docs.Get(ctx, webdoc.Request{URL: u.String(), Max: MaxDocument})
		if ctx.Err() != nil {
			return nil, Descriptor{}, context.Cause(ctx)
		}
		if err != nil {
			c.ignore(shown(u), "not read: %v", err)
			failures.add(err)
			continue
		}
		start, err := ParseDescriptor(doc.Content, func(text string) { c.ignore(shown(u), "%s", text) })
		if err == nil {
			err = checkServed(doc, MediaTypeDescriptor)
		}
		if err != nil {
			return nil, Descriptor{}, fmt.Errorf("%s: %w", shown(u), err)
		}
		c.note(shown(u), "read: version %s, leads to %s", v, start.MediaType)
		return root, start, nil
	}
	return nil, Descriptor{}, failures.err()
}

// versions returns how the version to go on with may be written. Where a host
// has no list, the latest known here is tried (draft, "Image Discovery"), as
// the draft's example writes it and as the draft itself does.
func (c *Client) versions(ctx context.Context, root *url.URL) ([]string, error) {
	u := root.JoinPath(".well-known", "x-parcel")
	doc, err := c.docs.Get(ctx, webdoc.Request{URL: u.String(), Max: maxVersionList})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var v string
	if err == nil {
		v, err = ParseVersions(doc.Content)
		if err != nil && !errors.Is(err, errNoVersions) {
			return nil, fmt.Errorf("%s: %w", shown(u), err)
		}
	}
	if err != nil {
		tell := c.ignore
		if errors.Is(err, transport.ErrNotFound) {
			tell = c.note
		}
		tell(shown(u), "no list of versions, going on with %s: %v", Version, err)
		return []string{"v" + Version, Version}, nil
	}
	c.note(shown(u), "read: version %s", v)
	return []string{v}, nil
}

// wrap says what was asked for; that nothing was there is ErrNotFound.
func (c *Client) wrap(n Name, err error) error {
	if errors.Is(err, transport.ErrNotFound) {
		return fmt.Errorf("%w: parcel %s: %w", resolve.ErrNotFound, n, err)
	}
	return fmt.Errorf("parcel %s: %w", n, err)
}

// Image reads the index: stage 2 of the draft.
func (d *Distribution) Image(ctx context.Context) (*Image, error) {
	if len(d.Indexes) == 0 {
		return nil, fmt.Errorf("parcel %s: no usable entry in indexURIs of %s", d.Name, shown(d.URL))
	}
	img := &Image{Distribution: d}
	w := d.client.newWalk(d.Name, d.URL, []string{ocispec.MediaTypeImageIndex})
	w.floor = d.floorOf
	var failures errorList
	for _, entry := range d.Indexes {
		err := w.first(ctx, entry, img.read)
		if err == nil {
			return img, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		failures.add(err)
	}
	return nil, d.client.wrap(d.Name, failures.err())
}

// read takes a document as the index.
func (img *Image) read(doc *webdoc.Document) error {
	index, err := image.Parse(ocispec.MediaTypeImageIndex, doc.Content)
	if err != nil {
		return err
	}
	img.Index = index
	img.Resolution = resolve.Resolution{
		Descriptor: ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageIndex,
			Digest:    digest.FromBytes(doc.Content),
			Size:      int64(len(doc.Content)),
		},
		Content: doc.Content,
		By:      resolve.Testimony{Resolver: "parcel", URI: shown(doc.URL), Time: time.Now()},
	}
	return nil
}

// checkServed refuses a document that its server says is something else that
// has a type of its own (CVE-2021-41190). What general servers say of every
// file (application/json, text/plain, …) says nothing.
func checkServed(doc *webdoc.Document, want string) error {
	if strings.HasPrefix(doc.MediaType, "application/vnd.") && doc.MediaType != want {
		return fmt.Errorf("served as %q, described as %q", clip(doc.MediaType), want)
	}
	return nil
}

// shown returns a URL fit to be shown: its query may hold a signature.
func shown(u *url.URL) string {
	c := *u
	c.RawQuery, c.ForceQuery, c.User = "", false, nil
	return c.String()
}

// errorList keeps of many failures the one to report: the first, unless that
// only says that something isn't there and another says more.
type errorList struct{ kept error }

func (l *errorList) add(err error) {
	if l.kept == nil || errors.Is(l.kept, transport.ErrNotFound) && !errors.Is(err, transport.ErrNotFound) {
		l.kept = err
	}
}

// err returns that error.
func (l *errorList) err() error { return l.kept }
