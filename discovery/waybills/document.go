package waybills

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/waybill"
	"github.com/waybill-project/waybill/webdoc"
)

// document is a waybill that can be used.
type document struct {
	*teller
	places *waybill.Places
	// typed says that what is in it is trusted as if it were typed: a file the
	// user named.
	typed bool
	// base is where it came from in the end; nil for files and layouts.
	base *url.URL
	// own is how near the origin of base may be.
	own transport.Remote
}

// use takes in what the document says.
func (d *document) use(doc *waybill.Document, from waybill.From) (err error) {
	if d.places, err = doc.Places(from); err != nil {
		return err
	}
	for err := range d.places.Refused() {
		d.ignore("%v", err)
	}
	return nil
}

// near returns how near the origin a document came from may be: anywhere where
// that is the host that was asked, and not where somebody redirected to it.
func near(base *url.URL, asked string) transport.Remote {
	if strings.EqualFold(base.Host, asked) {
		return transport.RemoteIn(netclass.Loopback)
	}
	return transport.RemotePublic
}

// hostOf returns the host, with its port, in a URL.
func hostOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Host
}

// locate yields the places of a blob until yield returns false, and reports
// whether it never did.
func (d *document) locate(desc ocispec.Descriptor, yield func(transport.Route) bool) bool {
	var aliases []waybill.Alias
	for alias, err := range d.places.Aliases(desc) {
		if err != nil {
			d.ignore("%v", err)
			continue
		}
		aliases = append(aliases, alias)
	}
	for entry, err := range d.places.Routes(desc) {
		var routes []transport.Route
		if err == nil {
			routes, err = d.routes(entry, aliases)
		}
		if err != nil {
			d.ignore("%v", err)
		}
		for _, route := range routes {
			if !yield(route) {
				return false
			}
		}
	}
	for _, alias := range aliases {
		route, err := d.alias(alias)
		if err != nil {
			d.ignore("%v", err)
		} else if !yield(route) {
			return false
		}
	}
	return true
}

// routes makes an entry routes, if it may be one: at a gateway of IPFS one for
// each CID the blob is known by, and the one its digest makes.
func (d *document) routes(e waybill.Entry, aliases []waybill.Alias) ([]transport.Route, error) {
	remote, err := d.permit(e.URI)
	if err != nil {
		return nil, err
	}
	uris := []string{e.URI}
	switch e.Protocol {
	case waybill.ProtocolDistribution:
		u, err := url.Parse(e.URI)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Where, err)
		}
		// Whether it may be asked without TLS is local policy's to say, whatever
		// the scheme of the URI.
		uris[0] = "docker://" + u.Host + "/" + e.Repository
	case waybill.ProtocolIPFSGateway:
		base := "ipfs+" + strings.TrimRight(e.URI, "/")
		uris = uris[:0]
		for _, alias := range aliases {
			if alias.Kind == waybill.KindCID {
				uris = append(uris, base+"/ipfs/"+cidPath(alias))
			}
		}
		uris = append(uris, base)
	}
	var routes []transport.Route
	for _, uri := range uris {
		route := transport.Route{URI: uri, Source: uris[len(uris)-1], Priority: d.priority(e.Priority), Origin: "waybill " + d.where, Remote: remote}
		if e.Protocol == waybill.ProtocolCASTemplate && e.Source != "" {
			route.Source = e.Source
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// cidPath is what an alias names in IPFS: CID[/PATH].
func cidPath(alias waybill.Alias) string {
	if alias.File == "" {
		return alias.Value
	}
	return alias.Value + "/" + (&url.URL{Path: alias.File}).EscapedPath()
}

// priority puts what a document from elsewhere says after what the user named.
func (d *document) priority(p int) int {
	if d.typed {
		return p
	}
	return locate.RemotePriority + p
}

// permit says whether a document of its origin may lead to uri, and how near
// that may be (spec/waybill.md §9, spec/security.md §3).
// The error is the same for all that is at one host, so that it is told once.
func (d *document) permit(uri string) (transport.Remote, error) {
	if d.typed {
		return 0, nil
	}
	u, err := url.Parse(uri)
	if err != nil {
		return 0, err
	}
	switch {
	case u.Scheme == "ipfs":
		return transport.RemotePublic, nil // by the gateways that are configured
	case u.Host == "":
		return 0, fmt.Errorf("%s: an unsigned waybill may not lead to whoever answers", transport.Redact(uri))
	case u.Scheme == "sftp" || u.Scheme == "ssh":
		// One gets in with the user's keys, so the user has to say so.
		if d.client.o.Trusted(strings.ToLower(u.Host)) {
			return 0, nil
		}
		return 0, fmt.Errorf("%s://%s isn't asked: the waybill isn't signed; %s", u.Scheme, u.Host, howToTrust(u.Host))
	case d.base != nil && u.Scheme == d.base.Scheme && strings.EqualFold(u.Host, d.base.Host):
		return d.own, nil
	}
	if remote, ok := d.client.o.Allowed(strings.ToLower(u.Host)); ok {
		return remote, nil
	}
	return 0, fmt.Errorf("%s isn't asked: the waybill isn't signed, and this host is neither where it came from nor that of the image; %s", u.Host, howToTrust(u.Host))
}

// howToTrust says how a host can be allowed.
func howToTrust(host string) string {
	return fmt.Sprintf("to allow it, configure [host.%q] trusted = true", strings.ToLower(host))
}

// alias makes a name outside OCI a route.
func (d *document) alias(alias waybill.Alias) (transport.Route, error) {
	uri := "ipfs://" + cidPath(alias)
	if alias.Kind != waybill.KindCID {
		uri = "magnet:?xt=urn:" + alias.Kind + ":" + alias.Value
		if alias.File != "" {
			uri += "#" + (&url.URL{Path: alias.File}).EscapedPath()
		}
	}
	remote, err := d.permit(uri)
	if err != nil {
		return transport.Route{}, err
	}
	return transport.Route{URI: uri, Source: uri, Priority: d.priority(waybill.MaxPriority), Origin: "waybill " + d.where, Remote: remote}, nil
}

// pieces returns the hashes of a blob's pieces and the document's name; nil where
// it knows none.
func (d *document) pieces(ctx context.Context, desc ocispec.Descriptor) (*waybill.PieceTable, string, error) {
	hints, ok, err := d.places.Pieces(desc)
	if err != nil || !ok {
		return nil, "", err
	}
	if hints.Data != nil {
		table, err := hints.Open(hints.Size, hints.Data)
		return table, d.where, err
	}
	for _, err := range hints.Refused {
		d.ignore("%v", err)
	}
	for _, e := range hints.Entries {
		table, err := d.table(ctx, hints, e)
		if err == nil {
			return table, d.where, nil
		}
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		d.ignore("%s: %v", e.Where, err)
	}
	return nil, "", nil
}

// table gets a table of hashes from one place.
func (d *document) table(ctx context.Context, hints waybill.PieceHints, e waybill.Entry) (*waybill.PieceTable, error) {
	remote, err := d.permit(e.URI)
	if err != nil {
		return nil, err
	}
	if scheme, _, _ := strings.Cut(e.URI, ":"); scheme != "https" && scheme != "http" {
		return nil, fmt.Errorf("%s: tables of hashes are had by https and http only", transport.Redact(e.URI))
	}
	doc, err := d.client.o.Docs.Get(ctx, webdoc.Request{URL: e.URI, Max: hints.Table.Size, Floor: remote.Floor()})
	if err != nil {
		return nil, err
	}
	return hints.Open(hints.Size, doc.Content)
}
