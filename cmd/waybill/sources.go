package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

// openStore opens the store the user chose.
func (a *app) openStore() (*store.Store, error) {
	return store.Open(a.config.Store, store.Options{IngestQuota: a.config.Ingest.Quota, IngestMaxAge: a.config.Ingest.MaxAge})
}

// puller wires everything up.
func (a *app) puller(st *store.Store) (*pull.Puller, error) {
	t, err := a.transports()
	if err != nil {
		return nil, err
	}
	locators, err := a.locators(t)
	if err != nil {
		return nil, err
	}
	c := a.config.Fetch
	return &pull.Puller{
		Store: st,
		Fetch: fetch.Options{
			Transport:      transport.ByOrigin{Local: t.Schemes, Remote: t.others},
			MaxConnections: c.MaxConnections, FirstByte: c.FirstByte, Stall: c.Stall, MinRate: c.MinRate,
		},
		Names:    a.names(t),
		Locate:   func(n name.Name) (locate.Locator, error) { return a.located(t, n) },
		Locators: locators,
		Further:  a.further(t),
		Parallel: c.Parallel,
	}, nil
}

// transports are those of this run, made when they are first needed.
func (a *app) transports() (*transports, error) {
	if a.reading == nil {
		t, err := a.newTransports()
		if err != nil {
			return nil, err
		}
		a.reading = t
	}
	return a.reading, nil
}

// named reports whether a flag's hosts have this one.
func named(hosts []string, host string) bool {
	return slices.Contains(hosts, anyHost) || slices.Contains(hosts, host)
}

// imageFlags are the flags of commands that take an image in.
type imageFlags struct {
	from     []string
	waybills []string
	platform string
}

func (f *imageFlags) add(cmd *cobra.Command) {
	fromFlag(cmd, &f.from, "ask the source `URI` too, for every blob")
	waybillFlag(cmd, &f.waybills)
	cmd.Flags().StringVar(&f.platform, "platform", "", "take `OS/ARCH[/VARIANT]` of an image for several, or all (default this machine's)")
}

// request makes a pull's request of the flags.
func (a *app) request(cmd *cobra.Command, n name.Name, f *imageFlags) (pull.Request, error) {
	req := pull.Request{Offline: a.flags.offline}
	if p := a.config.Platform; p != "" { // --platform is laid over it
		filter, err := image.ParsePlatform(p)
		if err != nil {
			return req, usageError{cmd, fmt.Errorf("%s: %w", a.config.From("platform"), err)}
		}
		req.Platform = filter
	}
	t, err := a.transports()
	if err != nil {
		return req, err
	}
	var places []string
	if n.Kind == name.Place {
		if err := t.check(n.Path); err != nil {
			return req, usageError{cmd, fmt.Errorf("name: %w", err)}
		}
		places = append(places, n.Path)
	}
	for _, uri := range f.from {
		l, err := locate.From(uri, "--from")
		if err == nil {
			var uris []string
			uris, err = checkRoutes(cmd.Context(), t, l)
			places = append(places, uris...)
		}
		if err != nil {
			return req, usageError{cmd, fmt.Errorf("--from: %w", err)}
		}
		req.From = append(req.From, l)
	}
	if req.Hints, err = a.hints(cmd, t, n, f.waybills); err != nil {
		return req, err
	}
	req.Elsewhere = len(f.waybills) > 0
	req.Within = a.within(t, n)
	if req.Offline {
		return req, nil
	}
	return req, t.prepare(cmd.Context(), places)
}

// checkRoutes has the transport of a source look at its URI.
func checkRoutes(ctx context.Context, t *transports, l locate.Locator) (uris []string, err error) {
	any := ocispec.Descriptor{Digest: digest.FromBytes(nil), Size: 0}
	for r, err := range l.Locate(ctx, any) {
		if err != nil {
			return nil, err
		}
		if err := t.check(r.URI); err != nil {
			return nil, err
		}
		uris = append(uris, r.URI)
	}
	return uris, nil
}

// parseName reads an image's name from the command line.
func parseName(cmd *cobra.Command, s string) (name.Name, error) {
	n, err := name.Parse(s)
	if err == nil {
		err = checkPublished(n)
	}
	if err != nil {
		return n, usageError{cmd, err}
	}
	if n.Kind == name.Registry && strings.HasPrefix(s, "-") {
		return n, usageError{cmd, fmt.Errorf("name %q begins with a dash", s)}
	}
	return n, nil
}
