package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/abd"
	"github.com/waybill-project/waybill/discovery/appc"
	"github.com/waybill-project/waybill/discovery/follow"
	ocidiscovery "github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/discovery/parcel"
	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
)

// resolvers are those of every protocol there is.
type resolvers struct {
	// plain are those of kinds of names that have one resolver, or one that
	// combines what there is.
	plain resolve.Names
	// xdg and wellKnown are the two halves of oci-discovery.
	xdg, wellKnown resolve.Resolver
}

// resolvers makes them. Nothing is asked of anyone.
func (a *app) resolvers(t *transports) resolvers {
	places := finders{}
	for scheme, tr := range t.Schemes {
		if f, ok := tr.(resolve.Finder); ok {
			places[scheme] = f
		}
	}
	local := resolve.Names{
		name.Layout: resolve.Local{Finder: layout.Transport{}}, name.OCIArchive: resolve.Local{Finder: t.archives},
		name.DockerArchive: resolve.Local{Finder: t.archives}, name.Place: resolve.Local{Finder: places},
		name.Digest: resolve.Digests{},
	}
	half := func(noLocal, noWellKnown bool) resolve.Resolver {
		return hostNames{ocidiscovery.Names{Resolver: ocidiscovery.New(ocidiscovery.Options{
			Docs: t.docs, NoLocal: noLocal, NoWellKnown: noWellKnown,
			Note: t.about,
		})}}
	}
	followed := follow.New(follow.Options{
		Docs: t.docs, Registry: t.registry, Local: local, Remote: t.findersForOthers(), Blocked: t.blocked,
		Archives: func(r transport.Remote) resolve.Finder { return t.webArchives.On(r) },
	})
	local[name.Host] = half(false, false)
	local[name.Parcel] = parcel.Names{Client: parcel.New(parcel.Options{
		Docs: t.docs, Note: t.about,
	})}
	local[name.ABD] = lazy(func() (resolve.Resolver, error) {
		configs, err := a.abdConfigs()
		return abd.Names{Follow: followed, Client: abd.New(abd.Options{
			Docs: t.docs, Configs: configs, Note: t.about,
		})}, err
	})
	local[name.AppC] = appc.Names{Follow: followed, Client: appc.New(appc.Options{
		Docs: t.docs, Note: t.about,
	})}
	return resolvers{plain: local, xdg: half(false, true), wellKnown: half(true, false)}
}

// checkPublished says what is wrong with a name by the rules of its protocol.
func checkPublished(n name.Name) error {
	var err error
	switch n.Kind {
	case name.Host:
		_, err = ocidiscovery.Parse(n.Path + "#" + n.Ref)
	case name.Parcel:
		_, err = parcel.Parse(n.Path)
	case name.ABD:
		_, err = abd.Parse(n.Path)
	case name.AppC:
		_, err = appc.Parse(n.Path)
	}
	return err
}

// findersForOthers look for images at places that other people's documents name.
func (t *transports) findersForOthers() map[string]resolve.Finder {
	all := map[string]resolve.Finder{}
	for scheme, tr := range t.others {
		if f, ok := tr.(resolve.Finder); ok {
			all[scheme] = f
		}
	}
	return all
}

// blocked says which file of mirrors blocks a repository.
func (t *transports) blocked(host, repository string) error {
	plan, err := t.mirrors.For(host, repository)
	if err == nil && plan.Blocked {
		err = &transport.Error{Kind: transport.ErrRefused, URI: "docker://" + host + "/" + repository, Err: &mirrors.BlockedError{From: plan.From}}
	}
	return err
}

// abdConfigs reads the strategies of abd. A directory that the configuration
// names has to be there.
func (a *app) abdConfigs() ([]abd.Config, error) {
	var dirs []string
	for _, dir := range a.config.Resolve.ABD {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && a.config.From("resolve.abd") == "default" {
			continue
		}
		dirs = append(dirs, dir)
	}
	return abd.ReadConfigs(dirs...)
}

// lazy is a resolver that is made when it is first needed, since that may fail.
type lazy func() (resolve.Resolver, error)

// Resolve implements [resolve.Resolver].
func (l lazy) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	r, err := l()
	if err != nil {
		return resolve.Resolution{}, err
	}
	return r.Resolve(ctx, n, known)
}

// hostNames has oci-discovery answer for registries' names too: HOST/REPO:TAG is
// HOST/REPO#TAG there.
type hostNames struct{ resolve.Resolver }

// Resolve implements [resolve.Resolver].
func (h hostNames) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	if n.Kind == name.Registry {
		n = name.Name{Kind: name.Host, Path: n.Host + "/" + n.Repository, Ref: n.Tag, Digest: n.Digest}
		if _, err := ocidiscovery.Parse(n.Path + "#" + n.Ref); err != nil {
			return resolve.Resolution{}, fmt.Errorf("%w: %w", resolve.ErrNotFound, err)
		}
	}
	return h.Resolver.Resolve(ctx, n, known)
}

// endpoints are the mirrors of a registry's name, or the registry itself, each by
// itself. Who may not answer for tags isn't asked about one.
func (ns names) endpoints(n name.Name, r string) ([]resolve.Witness, error) {
	t := ns.transports
	if err := t.blocked(n.Host, n.Repository); err != nil {
		return nil, err
	}
	plan, err := t.mirrors.For(n.Host, n.Repository)
	if err != nil {
		return nil, err
	}
	var all []resolve.Witness
	for _, e := range plan.Endpoints {
		if e.Mirror == (r == "mirrors") && e.Answers(n.Digest != "") {
			all = append(all, resolve.Witness{Name: r, URI: e.URI(), Resolver: endpoint{t.registry, e.URI()}})
		}
	}
	return all, nil
}

// endpoint answers for the names of one place of a registry's.
type endpoint struct {
	client mirrors.Registries
	uri    string
}

// Resolve implements [resolve.Resolver].
func (e endpoint) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	r, err := resolve.Registry{Client: e}.Resolve(ctx, n, known)
	if err == nil && r.By.Resolver == "registry" {
		r.By.URI = e.uri
	}
	return r, err
}

// Get implements [resolve.Manifests].
func (e endpoint) Get(ctx context.Context, _, _, reference string) (ocispec.Descriptor, []byte, error) {
	return e.client.GetAt(ctx, e.uri, reference)
}

// Head implements [resolve.Manifests].
func (e endpoint) Head(ctx context.Context, _, _, reference string) (ocispec.Descriptor, error) {
	return e.client.HeadAt(ctx, e.uri, reference)
}
