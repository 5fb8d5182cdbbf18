package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// MaxReferrerPages is how many pages of a list of referrers are read.
const MaxReferrerPages = 16

// errNoReferrersAPI says that a registry has no lists of referrers.
var errNoReferrersAPI = errors.New("no referrers API")

// Referrers yields what a registry lists as referrers of a manifest, of one type
// of artifact (distribution-spec, "Listing Referrers"), at the repository that a
// URI names, as [Client.Open] reads it. Of a registry without such lists it is
// what the index under the referrers tag holds ("Referrers Tag Schema"); one
// without that either is [transport.ErrNotFound].
//
// Pages come as they are asked for, [MaxReferrerPages] of up to [MaxManifest]
// bytes at most. An error is the last thing yielded, as those of [Client.Get].
// Whoever may write to the repository is the author of such a list, and nothing
// in it is verified.
func (c *Client) Referrers(ctx context.Context, uri string, subject digest.Digest, artifactType string) iter.Seq2[ocispec.Descriptor, error] {
	return func(yield func(ocispec.Descriptor, error) bool) {
		repo, err := parseURI(uri)
		if err == nil {
			if err = blobdigest.Validate(subject); err != nil {
				err = malformed(repo.uri(), "%w", err)
			}
		}
		if err != nil {
			yield(ocispec.Descriptor{}, err)
			return
		}
		path := repo.path("referrers", subject.String())
		path += separator(path) + url.Values{"artifactType": {artifactType}}.Encode()
		var seen []string
		for path != "" {
			page, next, err := c.referrers(ctx, repo, path, subject, len(seen) == 0)
			if err != nil {
				yield(ocispec.Descriptor{}, err)
				return
			}
			for _, d := range page {
				// The registry may not have filtered.
				if d.ArtifactType == artifactType && !yield(d, nil) {
					return
				}
			}
			seen = append(seen, path)
			path = next
			switch {
			case path == "":
			case slices.Contains(seen, path):
				yield(ocispec.Descriptor{}, malformed(repo.uri(), "the pages of the list of referrers go in a circle"))
				return
			case len(seen) == MaxReferrerPages:
				yield(ocispec.Descriptor{}, malformed(repo.uri(), "the list of referrers has more than %d pages; the rest isn't read", MaxReferrerPages))
				return
			}
		}
	}
}

func separator(path string) string {
	if strings.Contains(path, "?") {
		return "&"
	}
	return "?"
}

// referrers reads a page of the list, and returns the path of the next. In place
// of the first the referrers tag is read where there are no lists.
func (c *Client) referrers(ctx context.Context, repo repository, path string, subject digest.Digest, first bool) ([]ocispec.Descriptor, string, error) {
	var m manifest
	next := ""
	err := c.askReferrers(ctx, repo, path, func(resp *httpclient.Response) (err error) {
		m = manifest{uri: resp.ShownURL(), header: resp.Header}
		if served, _ := m.servedType(); served != ocispec.MediaTypeImageIndex {
			return errNoReferrersAPI // some web page
		}
		if err := m.read(ctx, resp); err != nil {
			return err
		}
		next, err = nextPage(resp)
		return err
	})
	if first && noReferrersAPI(err) {
		var desc ocispec.Descriptor
		if desc, m.content, err = c.get(ctx, repo, referrersTag(subject)); err == nil && desc.MediaType != ocispec.MediaTypeImageIndex {
			err = malformed(repo.uri(), "the referrers tag isn't an index but %q", httpclient.OneLine(desc.MediaType))
		}
		m.uri = repo.uri()
	}
	if err != nil {
		return nil, "", err
	}
	index, err := image.Parse(ocispec.MediaTypeImageIndex, m.content)
	if err != nil {
		return nil, "", malformed(m.uri, "list of referrers: %w", err)
	}
	return index.Manifests, next, nil
}

// askReferrers asks for a page and has read take the answer.
func (c *Client) askReferrers(ctx context.Context, repo repository, path string, read func(*httpclient.Response) error) error {
	return c.ask(ctx, repo, func(at endpoint) error {
		resp, err := at.http.Do(ctx, &httpclient.Request{
			URL: at.base + path, Authorization: at.authorization, Floor: repo.remote.Floor(),
			Header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}, "Accept-Encoding": {"identity"}},
		})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return read(resp)
	})
}

// noReferrersAPI reports whether an answer is that of a registry that doesn't
// know of such lists. The specification has it be 404.
func noReferrersAPI(err error) bool {
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return errors.Is(err, errNoReferrersAPI)
	}
	switch status.Code {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return false
}

// referrersTag is the tag under which referrers are listed where there is no API
// for it (distribution-spec, "Referrers Tag Schema").
func referrersTag(subject digest.Digest) string {
	algorithm, encoded := string(subject.Algorithm()), subject.Encoded()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// nextPage returns the path of the page that follows an answer, which is at the
// same origin: what is sent along to get it is for that one. Empty means none.
func nextPage(resp *httpclient.Response) (string, error) {
	// A "<" that isn't the beginning of a link's target can only stand in the
	// quoted value of a parameter that nobody uses here.
	for _, link := range strings.Split(strings.Join(resp.Header.Values("Link"), ","), "<") {
		target, params, ok := strings.Cut(link, ">")
		if !ok || !isNext(params) {
			continue
		}
		u, err := resp.URL.Parse(target)
		switch {
		case err != nil:
			return "", malformed(resp.ShownURL(), "malformed Link to the next page of the list of referrers")
		case u.Scheme != resp.URL.Scheme || u.Host != resp.URL.Host || u.User != nil || resp.Redirects > 0:
			return "", transport.Errorf(transport.ErrRefused, resp.ShownURL(), "the list of referrers goes on elsewhere; not followed")
		}
		return u.RequestURI(), nil
	}
	return "", nil
}

// isNext reports whether the parameters of a Link are those of the next page
// (RFC 8288 §3).
func isNext(params string) bool {
	params = strings.TrimRight(params, ", ")
	return slices.ContainsFunc(strings.Split(params, ";"), func(p string) bool {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		return strings.EqualFold(strings.TrimSpace(name), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next")
	})
}

// Read reads all of what desc describes, a manifest or a blob of up to
// [MaxManifest] bytes, at the repository that a URI names, as [Client.Open] does.
// The content is verified. It also returns where that came from in the end,
// after redirects.
func (c *Client) Read(ctx context.Context, uri string, desc ocispec.Descriptor) ([]byte, *url.URL, error) {
	if desc.Size < 0 || desc.Size > MaxManifest {
		return nil, nil, malformed(uri, "%s of %d bytes; up to %d are read", desc.Digest, desc.Size, MaxManifest)
	}
	body, err := c.open(ctx, transport.Route{URI: uri}, desc, 0, desc.Size)
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	content := make([]byte, desc.Size)
	if _, err := io.ReadFull(body, content); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	if d, err := blobdigest.FromBytes(desc.Digest.Algorithm(), content); err != nil || d != desc.Digest {
		return nil, nil, malformed(uri, "sent bytes of digest %s for %s", d, desc.Digest)
	}
	return content, body.Response.URL, nil
}
