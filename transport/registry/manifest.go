package registry

import (
	"context"
	_ "crypto/sha256" // the digest algorithms the image-spec registers
	_ "crypto/sha512"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// MaxManifest is the size of the largest manifest that is read, in bytes. The
// distribution-spec has registries accept 4 MiB.
const MaxManifest = 8 << 20

// manifestTypes are the media types asked for, one header each.
var manifestTypes = []string{
	ocispec.MediaTypeImageManifest,
	ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
}

// isManifest reports whether content of a media type lies among a registry's
// manifests.
func isManifest(mediaType string) bool { return slices.Contains(manifestTypes, mediaType) }

// Get reads the manifest or index that reference, a tag or a digest, means in a
// repository (distribution-spec, end-3).
//
// The descriptor's digest was computed from the content, and is the one the
// registry stated, if any, and reference, if that is a digest. Its media type
// is the Content-Type stated or, where that is missing, the content's own; that
// the two differ is an error (CVE-2021-41190). Content of more than
// [MaxManifest] is one, too. Errors are as those of [Client.Open].
func (c *Client) Get(ctx context.Context, host, name, reference string) (ocispec.Descriptor, []byte, error) {
	repo, err := newRepository(host, name)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return c.get(ctx, repo, reference)
}

// GetAt is [Client.Get] of the repository that a URI names, as [Client.Open]
// reads it: at a mirror, say.
func (c *Client) GetAt(ctx context.Context, uri, reference string) (ocispec.Descriptor, []byte, error) {
	repo, err := parseURI(uri)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return c.get(ctx, repo, reference)
}

// GetRoute is [Client.Get] of the repository at a route, as [Client.Open] asks
// it: one that somebody else named (Route.Remote) without credentials, in the
// networks that it allows.
func (c *Client) GetRoute(ctx context.Context, route transport.Route, reference string) (ocispec.Descriptor, []byte, error) {
	repo, err := routeRepository(route)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return c.get(ctx, repo, reference)
}

func (c *Client) get(ctx context.Context, repo repository, reference string) (ocispec.Descriptor, []byte, error) {
	path, err := manifestPath(repo, reference)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	var m manifest
	err = c.askManifest(ctx, repo, http.MethodGet, path, func(resp *httpclient.Response) error {
		m = manifest{uri: resp.ShownURL(), header: resp.Header}
		return m.read(ctx, resp)
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc, err := m.describe(reference)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return desc, m.content, nil
}

// Head returns the descriptor of what reference, a tag or a digest, means in a
// repository, as the registry states it: nothing was read that could prove it.
// A registry that states no digest, type or size has the manifest read, as
// [Client.Get] does.
func (c *Client) Head(ctx context.Context, host, name, reference string) (ocispec.Descriptor, error) {
	repo, err := newRepository(host, name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return c.head(ctx, repo, reference)
}

// HeadAt is [Client.Head] of the repository that a URI names, as [Client.Open]
// reads it: at a mirror, say.
func (c *Client) HeadAt(ctx context.Context, uri, reference string) (ocispec.Descriptor, error) {
	repo, err := parseURI(uri)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return c.head(ctx, repo, reference)
}

func (c *Client) head(ctx context.Context, repo repository, reference string) (ocispec.Descriptor, error) {
	path, err := manifestPath(repo, reference)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var desc ocispec.Descriptor
	err = c.askManifest(ctx, repo, http.MethodHead, path, func(resp *httpclient.Response) error {
		m := manifest{uri: resp.ShownURL(), header: resp.Header}
		var err error
		if desc.MediaType, err = m.servedType(); err != nil {
			return err
		}
		if desc.Digest, err = m.statedDigest(reference); err != nil {
			return err
		}
		desc.Size = resp.ContentLength
		return nil
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if desc.Digest == "" || desc.MediaType == "" || desc.Size < 0 {
		desc, _, err = c.get(ctx, repo, reference)
	}
	return desc, err
}

// manifestPath returns where a manifest is at its registry.
func manifestPath(repo repository, reference string) (string, error) {
	if !isDigest(reference) && !tagName.MatchString(reference) {
		return "", malformed(repo.uri(), "reference %q is neither a tag nor a digest", httpclient.OneLine(reference))
	}
	return repo.path("manifests", reference), nil
}

// askManifest asks for a manifest and has read take the answer.
func (c *Client) askManifest(ctx context.Context, repo repository, method, path string, read func(*httpclient.Response) error) error {
	return c.ask(ctx, repo, func(at endpoint) error {
		resp, err := at.http.Do(ctx, &httpclient.Request{
			Method:        method,
			URL:           at.base + path,
			Header:        http.Header{"Accept": manifestTypes, "Accept-Encoding": {"identity"}},
			Authorization: at.authorization,
			Floor:         repo.remote.Floor(),
		})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.Redirects == 0 {
			c.warn(repo, resp.Header)
		}
		if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
			return malformed(resp.ShownURL(), "answered with Content-Encoding %q, asked for identity", httpclient.OneLine(coding))
		}
		return read(resp)
	})
}

// manifest is an answer to the request for one.
type manifest struct {
	uri     string
	header  http.Header
	content []byte
}

// read reads the content, up to MaxManifest.
func (m *manifest) read(ctx context.Context, resp *httpclient.Response) error {
	tooLarge := malformed(m.uri, "larger than %d MiB", MaxManifest>>20)
	if resp.ContentLength > MaxManifest {
		return tooLarge
	}
	var err error
	m.content, err = io.ReadAll(io.LimitReader(resp.Body, MaxManifest+1))
	switch {
	case ctx.Err() != nil:
		return httpclient.ContextError(ctx)
	case err != nil:
		return transport.Errorf(transport.ErrTemporary, m.uri, "breaks off: %w", err)
	case len(m.content) > MaxManifest:
		return tooLarge
	}
	return nil
}

// describe returns the descriptor of the content, checked against everything
// said of it.
func (m *manifest) describe(reference string) (ocispec.Descriptor, error) {
	fail := func(format string, args ...any) (ocispec.Descriptor, error) {
		return ocispec.Descriptor{}, malformed(m.uri, format, args...)
	}
	want, err := m.statedDigest(reference)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if want == "" {
		want = digest.FromBytes(m.content)
	}
	desc := ocispec.Descriptor{Digest: want, Size: int64(len(m.content))}
	// What is stated may be by another algorithm than reference.
	for _, d := range []digest.Digest{want, digest.Digest(m.header.Get("Docker-Content-Digest"))} {
		switch {
		case d == "":
		case !d.Algorithm().Available():
			return fail("digest algorithm %q is not supported", d.Algorithm())
		case d.Algorithm().FromBytes(m.content) != d:
			return fail("manifest has digest %s, want %s", d.Algorithm().FromBytes(m.content), d)
		}
	}
	if desc.MediaType, err = m.servedType(); err != nil {
		return ocispec.Descriptor{}, err
	}
	var own struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(m.content, &own) != nil {
		return fail("manifest is not a JSON object")
	}
	switch {
	case desc.MediaType == "" && own.MediaType == "":
		return fail("neither the registry nor the manifest states a media type")
	case desc.MediaType == "":
		desc.MediaType = own.MediaType
	case own.MediaType != "" && own.MediaType != desc.MediaType:
		return fail("served as %q, but calls itself %q", desc.MediaType, httpclient.OneLine(own.MediaType))
	}
	return desc, nil
}

// servedType returns the media type of the Content-Type header, if there is
// one.
func (m *manifest) servedType() (string, error) {
	value := m.header.Get("Content-Type")
	if value == "" {
		return "", nil
	}
	mediaType, _, err := mime.ParseMediaType(value)
	if err != nil {
		return "", malformed(m.uri, "malformed Content-Type %q", httpclient.OneLine(value))
	}
	return mediaType, nil
}

// statedDigest returns what the digest has to be: reference, if it is one, or
// what the registry says; "" where neither does. That they differ, by the same
// algorithm, is an error.
func (m *manifest) statedDigest(reference string) (digest.Digest, error) {
	stated := m.header.Get("Docker-Content-Digest")
	if stated != "" && !isDigest(stated) {
		return "", malformed(m.uri, "malformed Docker-Content-Digest %q", httpclient.OneLine(stated))
	}
	if !isDigest(reference) {
		return digest.Digest(stated), nil
	}
	asked := digest.Digest(reference)
	if stated != "" && digest.Digest(stated).Algorithm() == asked.Algorithm() && stated != reference {
		return "", malformed(m.uri, "states digest %s, asked for %s", stated, reference)
	}
	return asked, nil
}
