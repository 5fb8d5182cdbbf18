package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/discovery/waybills"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/waybill"
)

// waybillFlag adds --waybill.
func waybillFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVar(files, "waybill", nil, "ask the places that the waybill in `FILE|URL` names too; may be repeated")
}

// hints asks the waybills that the user named, and those that are found where the
// name leads.
func (a *app) hints(cmd *cobra.Command, t *transports, n name.Name, refs []string) (func(context.Context, digest.Digest) []pull.Hint, error) {
	st, err := a.openStore()
	if err != nil {
		return nil, err
	}
	client := waybills.New(waybills.Options{
		Docs:    t.docs,
		Memory:  marks{st},
		Allowed: func(host string) (transport.Remote, bool) { return a.allowed(n, host) },
		Trusted: a.config.HostTrusted,
		Note:    t.about,
	})
	var bills []*waybills.Bill
	for _, ref := range refs {
		b, err := client.Given(ref)
		if err != nil {
			return nil, usageError{cmd, fmt.Errorf("--waybill: %w", err)}
		}
		bills = append(bills, b)
	}
	sources, err := a.waybillsOf(t, client, n)
	if err != nil || len(bills)+len(sources) == 0 {
		return nil, err
	}
	return func(ctx context.Context, image digest.Digest) []pull.Hint {
		var all []pull.Hint
		for _, b := range bills {
			about := b.About(image)
			all = append(all, pull.Hint{Locator: about, Pieces: piecesOf(about)})
		}
		if len(sources) > 0 {
			search := client.Search(ctx, image, sources...)
			all = append(all, pull.Hint{Locator: search, Pieces: piecesOf(search)})
		}
		return all
	}, nil
}

// marks has the store remember which waybills were used.
type marks struct{ store *store.Store }

// Seen implements [waybills.Memory].
func (m marks) Seen(signer string, image digest.Digest) (waybill.Seen, error) {
	mark, err := m.store.Mark(signer, image, time.Now())
	if errors.Is(err, store.ErrNotFound) {
		return waybill.Seen{}, nil
	}
	return waybill.Seen{Sequence: mark.Sequence, Digest: mark.Digest}, err
}

// Remember implements [waybills.Memory].
func (m marks) Remember(signer string, image digest.Digest, what waybill.Seen, until time.Time) error {
	return m.store.PutMark(store.Mark{Signer: signer, Image: image, Sequence: what.Sequence, Digest: what.Digest, Until: until})
}

// waybillsOf are the places where waybills about the image of a name are looked
// for: its registry, or what replaces that here; its host; its layout.
func (a *app) waybillsOf(t *transports, client *waybills.Client, n name.Name) ([]waybills.Source, error) {
	if !a.config.Locate.Waybills {
		return nil, nil
	}
	switch n.Kind {
	case name.Registry:
		plan, err := t.mirrors.For(n.Host, n.Repository)
		if err != nil {
			return nil, err
		}
		var all []waybills.Source
		for _, e := range plan.Endpoints {
			if e.Mirror || !e.ServesContent(n.Digest != "") {
				continue
			}
			all = append(all, client.Referrers(t.registry, e.URI()))
			if e.Host == n.Host {
				all = append(all, client.WellKnown(n.Host))
			}
		}
		return all, nil
	case name.Host, name.Parcel:
		return []waybills.Source{client.WellKnown(hostIn(n))}, nil
	case name.Layout:
		abs, err := n.Absolute()
		return []waybills.Source{client.Layout(abs)}, err
	}
	return nil, nil
}

// piecesOf gives the engine what waybills say of a blob's pieces.
func piecesOf(bills interface {
	Pieces(context.Context, ocispec.Descriptor) (*waybill.PieceTable, string, error)
}) fetch.FindPieces {
	return func(ctx context.Context, desc ocispec.Descriptor) (fetch.Pieces, string, error) {
		table, by, err := bills.Pieces(ctx, desc)
		if table == nil {
			return nil, "", err // and no table that is nil inside
		}
		return table, by, err
	}
}

// hostIn is the host in a name, empty where there is none.
func hostIn(n name.Name) string {
	if n.Kind == name.Host || n.Kind == name.Parcel {
		host, _, _ := strings.Cut(n.Path, "/")
		return host
	}
	return n.Host
}

// allowed says whether unsigned location data may lead to a host: to that of the
// image's name, wherever it is, and to those the configuration trusts.
func (a *app) allowed(n name.Name, host string) (transport.Remote, bool) {
	if of := hostIn(n); of != "" && strings.EqualFold(host, of) {
		return transport.RemoteIn(netclass.Loopback), true
	}
	return transport.RemotePublic, a.config.HostTrusted(host)
}
