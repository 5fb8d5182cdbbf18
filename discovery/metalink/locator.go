package metalink

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/webdoc"
)

// Locator returns the locator that yields what of yields, as it does, and besides
// what the web servers among those places know more (see [Options]). At most
// [MaxPlaces] are asked for one blob, those with credentials not at all. Each URI
// is yielded once, see [locate.Seen].
//
// The order that links and metalinks give (pri, priority) becomes the routes'
// Priority by rank: [locate.RemotePriority] for the first, one more for each
// following value. Torrents come last. Location (geo) means nothing here.
func (c *Client) Locator(of locate.Locator) locate.Locator {
	return locate.Func(func(ctx context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		if desc.Size < max(c.options.MinSize, 0) {
			return of.Locate(ctx, desc)
		}
		return func(yield func(transport.Route, error) bool) { c.locate(ctx, of, desc, yield) }
	})
}

// answer is what a locator or a place said.
type answer struct {
	route transport.Route
	err   error
}

func (c *Client) locate(ctx context.Context, of locate.Locator, desc ocispec.Descriptor, yield func(transport.Route, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	send := func(r transport.Route, err error) bool {
		select {
		case answers <- answer{r, err}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		asked := map[string]bool{}
		for r, err := range of.Locate(ctx, desc) {
			if !send(r, err) {
				return
			}
			if u := askable(r); err == nil && u != nil && !asked[r.URI] && len(asked) < MaxPlaces {
				asked[r.URI] = true
				wg.Go(func() { (&place{c, r, u, desc, send}).ask(ctx) })
			}
		}
	})
	go func() { wg.Wait(); close(answers) }()
	defer func() {
		cancel()
		for range answers { // until all have ended
		}
	}()
	seen := locate.Seen{}
	for a := range answers {
		if a.err == nil && seen.Add(a.route) {
			continue
		}
		if !yield(a.route, a.err) {
			return
		}
	}
}

// askable returns the URL of a place that may be asked, nil for any other.
func askable(r transport.Route) *url.URL {
	if !strings.HasPrefix(r.URI, "https://") && !strings.HasPrefix(r.URI, "http://") {
		return nil
	}
	u, err := url.Parse(r.URI)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return nil
	}
	return u
}

// place is a place of one blob that is asked for links.
type place struct {
	*Client
	route transport.Route
	url   *url.URL // the route's
	desc  ocispec.Descriptor
	send  func(transport.Route, error) bool
}

// candidate is a place that a link or metalink names.
type candidate struct {
	uri      string
	priority int
	source   string
}

// ask asks the place for its header and yields what that leads to.
func (p *place) ask(ctx context.Context) {
	doc := p.header(ctx, p.route, p.url)
	if doc == nil {
		return
	}
	n, origin := p.notes(shown(p.url)), "Link of "+shown(p.url)
	if err := p.another(doc.Header); err != nil {
		n.add("links not used: %v", err)
		return
	}
	l := readLinks(doc, n)
	if !p.yield(l.duplicates, 0, origin) {
		return
	}
	for i, u := range l.metalinks {
		if i == MaxDescriptions {
			n.add("more metalinks than the limit of %d; the rest is ignored", MaxDescriptions)
			break
		}
		if err := p.describe(ctx, u); err != nil && !p.send(transport.Route{}, fmt.Errorf("metalink %s: %s", shown(u), reason(err))) {
			return
		}
	}
	p.yield(p.magnets(ctx, l.torrents, n), len(l.duplicates), origin)
}

// leads is what the links of an answer lead to.
type leads struct {
	duplicates          []candidate
	metalinks, torrents []*url.URL
}

// readLinks reads those of an answer that lead further (RFC 6249 §3 and §4).
func readLinks(doc *webdoc.Document, n *notes) (found leads) {
	links, err := ParseLinks(doc.Header.Values("Link"))
	if err != nil {
		n.add("%s", clip(err.Error()))
	}
	for _, l := range links {
		mediaType, _, _ := strings.Cut(l.Params["type"], ";")
		mediaType = strings.ToLower(strings.TrimSpace(mediaType))
		_, elsewhere := l.Params["anchor"] // it is about something else
		describes := l.Is("describedby") && (mediaType == MediaType || mediaType == MediaTypeTorrent)
		if elsewhere || !describes && !l.Is("duplicate") {
			continue
		}
		u, err := doc.URL.Parse(l.URI)
		switch {
		case err != nil:
			n.add("link %q not used: no URI reference (RFC 3986)", target.Shown(l.URI))
		case l.Is("duplicate"):
			d, err := duplicate(l, u)
			if err != nil {
				n.add("link to %s not used: %v", clip(shown(u)), err)
				continue
			}
			found.duplicates = append(found.duplicates, d)
		case mediaType == MediaType:
			found.metalinks = append(found.metalinks, u)
		default:
			found.torrents = append(found.torrents, u)
		}
	}
	return found
}

// magnets reads torrents. Those that can't be used are noted.
func (p *place) magnets(ctx context.Context, torrents []*url.URL, n *notes) (list []candidate) {
	for i, u := range torrents {
		if !p.options.Torrents {
			n.add("torrent %s not used: no transport takes torrents of others", clip(shown(u)))
			continue
		}
		if i == MaxDescriptions {
			n.add("more torrents than the limit of %d; the rest is ignored", MaxDescriptions)
			break
		}
		magnet, err := p.magnet(ctx, u)
		if err != nil {
			n.add("torrent %s not used: %s", clip(shown(u)), clip(reason(err)))
			continue
		}
		list = append(list, candidate{uri: magnet})
	}
	return list
}

// magnet gets the torrent at u.
func (p *place) magnet(ctx context.Context, u *url.URL) (string, error) {
	doc, err := p.get(ctx, u, MediaTypeTorrent, MaxTorrent)
	if err != nil {
		return "", err
	}
	link, err := Magnet(doc.Content)
	if err != nil {
		return "", err
	}
	return locate.BlobURI(link)
}

// duplicate reads a link to a copy.
func duplicate(l Link, u *url.URL) (candidate, error) {
	d := candidate{}
	var err error
	if d.priority, err = parsePriority(l.Params["pri"]); err != nil {
		return d, err
	}
	if d.uri, err = locate.BlobURI(u.String()); err != nil {
		return d, err
	}
	// What is mirrored is a directory so many levels up (RFC 6249, "depth"): its
	// files are of one source, which is none that the user named.
	depth, err := strconv.Atoi(l.Params["depth"])
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return d, nil
	}
	dir := u.EscapedPath()
	for ; depth > 0 && strings.Contains(dir, "/"); depth-- {
		dir = dir[:strings.LastIndexByte(dir, '/')]
		d.source = "mirror " + u.Scheme + "://" + u.Host + dir + "/"
	}
	return d, nil
}

// get gets a document that this place, or one it named, leads to.
func (p *place) get(ctx context.Context, u *url.URL, mediaType string, limit int64) (*webdoc.Document, error) {
	if err := target.Check(u, "https", "http"); err != nil {
		return nil, err
	}
	if p.url.Scheme == "https" && u.Scheme == "http" {
		return nil, errors.New("it leads from https to http, which is refused")
	}
	return p.options.Docs.Get(ctx, webdoc.Request{URL: u.String(), Accept: mediaType, Max: limit, Floor: p.remote(u).Floor()})
}

// describe gets the metalink at u and yields the places in it.
func (p *place) describe(ctx context.Context, u *url.URL) error {
	doc, err := p.get(ctx, u, MediaType, MaxDocument)
	if err != nil {
		return err
	}
	n := p.notes(shown(u))
	files, err := Parse(doc.Content, func(text string) { n.add("%s", text) })
	if err != nil {
		return err
	}
	p.read(shown(u), "a metalink of %d files", len(files))
	f := p.choose(files, n)
	if f == nil {
		return errors.New("no file in it is the blob")
	}
	if f.Pieces != nil && p.options.Pieces != nil && f.Pieces.Cover(p.desc.Size) {
		p.options.Pieces(p.desc, *f.Pieces, shown(u))
	}
	list, torrents := candidates(f, n)
	origin := "metalink " + shown(u)
	if p.yield(list, 0, origin) {
		p.yield(p.magnets(ctx, torrents, n), len(list), origin)
	}
	return nil
}

// choose returns the file that is the blob. Why others aren't is noted.
func (p *place) choose(files []File, n *notes) *File {
	want := p.desc.Digest
	for _, f := range files {
		switch {
		case f.Size >= 0 && f.Size != p.desc.Size:
			n.add("file %q is another one: its size is %d, the blob's %d", clip(f.Name), f.Size, p.desc.Size)
			continue
		case slices.Contains(f.Digests, want):
			for _, d := range f.Digests {
				if d != want && d.Algorithm() == want.Algorithm() {
					n.add("file %q refused: two digests of one algorithm, %s and %s", clip(f.Name), want, d)
					return nil
				}
			}
			return &f
		}
		stated := "none"
		for _, d := range f.Digests {
			if d.Algorithm() == want.Algorithm() {
				stated = string(d)
			}
		}
		n.add("file %q refused: the blob's digest is %s, and the file states %s", clip(f.Name), want, stated)
	}
	return nil
}

// candidates returns the places of a file, and those of its torrents.
func candidates(f *File, n *notes) (list []candidate, torrents []*url.URL) {
	add := func(u URL, suffix string) {
		uri, err := locate.BlobURI(u.URI + suffix)
		if err != nil {
			n.add("file %q: %s not used: %v", clip(f.Name), target.Shown(u.URI), err)
			return
		}
		list = append(list, candidate{uri: uri, priority: u.Priority})
	}
	for _, u := range f.URLs {
		add(u, "")
	}
	for _, m := range f.MetaURLs {
		if m.MediaType != "torrent" && m.MediaType != MediaTypeTorrent {
			continue
		}
		if u, err := url.Parse(m.URI); err == nil && u.Scheme != "magnet" {
			torrents = append(torrents, u)
			continue
		}
		suffix := ""
		if m.Name != "" && !strings.Contains(m.URI, "#") {
			suffix = "#" + (&url.URL{Path: m.Name}).EscapedPath()
		}
		add(m.URL, suffix)
	}
	return list, torrents
}

// yield sends the places, the first ones first, and reports whether anybody
// listens still. rank is that of the first.
func (p *place) yield(list []candidate, rank int, origin string) bool {
	slices.SortStableFunc(list, func(a, b candidate) int { return a.priority - b.priority })
	for i, d := range list {
		if i > 0 && d.priority != list[i-1].priority {
			rank++
		}
		r := transport.Route{URI: d.uri, Priority: locate.RemotePriority + rank, Origin: origin, Source: d.source}
		u, err := url.Parse(d.uri)
		if err != nil {
			continue // BlobURI has read it before
		}
		if r.Remote = p.remote(u); !p.send(r, nil) {
			return false
		}
	}
	return true
}

// remote says how near a place may be that this one named: in the public network,
// or where this one is if it has the same origin.
func (p *place) remote(u *url.URL) transport.Remote {
	if u.Scheme == p.url.Scheme && strings.EqualFold(u.Host, p.url.Host) {
		return transport.RemoteIn(p.route.Remote.Floor())
	}
	return transport.RemotePublic
}
