package waybills

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/waybill"
	"github.com/waybill-project/waybill/webdoc"
)

// Bill is a waybill that was named. What it says is read once, when it is first
// asked.
type Bill struct {
	*teller
	path string // of a file
	pipe bool   // which is none of the kind that has a place: a pipe, standard input
	url  string // or a URL

	once    sync.Once
	done    chan struct{} // closed when read is set
	read    *document     // nil where it can't be used
	subject digest.Digest // empty for a bare document, which is about what it was given for
}

// Given returns the waybill that the user named: a file, or an http or https
// URL. The error is about what can be seen without asking anybody: there is no
// such file.
func (c *Client) Given(ref string) (*Bill, error) {
	b := &Bill{teller: &teller{client: c, where: ref}, done: make(chan struct{})}
	if u, err := url.Parse(ref); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		if u.Host == "" || u.User != nil {
			return nil, fmt.Errorf("waybill %s: want a URL with a host and no password", transport.Redact(ref))
		}
		b.url = ref
		return b, nil
	}
	info, err := os.Stat(ref)
	switch {
	case err != nil:
		return nil, fmt.Errorf("waybill %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("waybill %s: not a file", ref)
	}
	b.pipe = !info.Mode().IsRegular()
	if b.path, err = filepath.Abs(ref); err != nil {
		return nil, fmt.Errorf("waybill %s: %w", ref, err)
	}
	return b, nil
}

// About is what a waybill says of one image. It is a [locate.Locator].
type About struct {
	bill  *Bill
	image digest.Digest
}

// About returns what the waybill says of the image with that digest. One that
// is about another image says nothing.
func (b *Bill) About(image digest.Digest) *About { return &About{b, image} }

// Locate implements [locate.Locator]. Routes of documents from the network are
// marked as remote.
func (a *About) Locate(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return func(yield func(transport.Route, error) bool) {
		if d := a.document(ctx); d != nil {
			d.locate(desc, func(r transport.Route) bool { return yield(r, nil) })
		}
	}
}

// Pieces returns the hashes of a blob's pieces, which the document holds or
// says where to get, and the document's name; nil where it knows none. Of the
// places of a table those on the web are asked, in order.
func (a *About) Pieces(ctx context.Context, desc ocispec.Descriptor) (*waybill.PieceTable, string, error) {
	d := a.document(ctx)
	if d == nil {
		return nil, "", nil
	}
	return d.pieces(ctx, desc)
}

// document returns the document, nil where it says nothing of the image.
func (a *About) document(ctx context.Context) *document {
	d := a.bill.open(ctx)
	if d == nil {
		return nil
	}
	if of := a.bill.subject; of != "" && of != a.image {
		a.bill.ignore("the waybill is ignored: %v: it is about %s", waybill.ErrSubject, of)
		return nil
	}
	return d
}

// open reads the document, the first time, and returns nil where it can't be
// used or ctx ends before. Who asked first may be gone before it has come: it is
// read for the others too, no longer than webdoc waits.
func (b *Bill) open(ctx context.Context) *document {
	b.once.Do(func() {
		go func() {
			defer close(b.done)
			d, err := b.load(context.WithoutCancel(ctx))
			if err != nil {
				b.ignore("the waybill is ignored: %v", err)
				return
			}
			b.read = d
		}()
	})
	select {
	case <-b.done:
		return b.read
	case <-ctx.Done():
		return nil
	}
}

func (b *Bill) load(ctx context.Context) (*document, error) {
	content, base, err := b.content(ctx)
	if err != nil {
		return nil, err
	}
	if content, b.subject, err = unwrap("", content); err != nil {
		return nil, err
	}
	doc, err := waybill.Parse(content)
	if err != nil {
		return nil, err
	}
	if err := doc.InForce(b.client.o.Now()); err != nil {
		return nil, err
	}
	d := &document{teller: b.teller, typed: base == nil, base: base}
	from := waybill.From{Base: (&url.URL{Scheme: "file", Path: b.path}).String(), Local: true}
	if b.pipe {
		from.Base = ""
	}
	if base != nil {
		d.own = near(base, hostOf(b.url))
		from = waybill.From{Base: base.String()}
	}
	return d, d.use(doc, from)
}

func (b *Bill) content(ctx context.Context) ([]byte, *url.URL, error) {
	if b.path != "" {
		f, err := os.Open(b.path)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		if err == nil && len(content) > maxFile {
			err = fmt.Errorf("larger than %d bytes", maxFile)
		}
		return content, nil, err
	}
	doc, err := b.client.o.Docs.Get(ctx, webdoc.Request{
		URL: b.url, Max: maxFile, Accept: accept,
		Floor: netclass.Loopback, // it was typed
	})
	if err != nil {
		return nil, nil, err
	}
	return doc.Content, doc.URL, nil
}
