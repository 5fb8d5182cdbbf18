package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/config"
	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/resolve"
)

// names resolves every name by the policy that the configuration has for it:
// whom to ask, in which order, whether the first answer counts or all have to
// agree, and how old an answer may be.
func (a *app) names(t *transports) resolve.Resolver {
	return names{a, t, a.resolvers(t)}
}

// names is the one place where kinds of names, resolvers and policy meet.
type names struct {
	app        *app
	transports *transports
	all        resolvers
}

// witnessesOf are the resolvers that policies may name for a kind of names.
type witnessesOf struct {
	usual []string // asked in this order where nothing is configured
	more  []string
}

func (w witnessesOf) all() []string { return slices.Concat(w.usual, w.more) }

// mayAsk has the kinds of names that are somebody's word.
var mayAsk = map[name.Kind]witnessesOf{
	name.Registry: {[]string{"mirrors", "registry"}, []string{"xdg", "well-known", resolve.StoreName}},
	name.Host:     {[]string{"xdg", "well-known"}, []string{resolve.StoreName}},
	name.Parcel:   {[]string{"parcel"}, []string{resolve.StoreName}},
	name.ABD:      {[]string{"abd"}, []string{resolve.StoreName}},
	name.AppC:     {[]string{"appc"}, []string{resolve.StoreName}},
	name.Place:    {[]string{"place"}, []string{resolve.StoreName}},
}

// Resolve implements [resolve.Resolver].
func (ns names) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (resolve.Resolution, error) {
	if _, ok := mayAsk[n.Kind]; !ok { // a digest, a layout
		return ns.all.plain.Resolve(ctx, n, known)
	}
	tag := n
	tag.Digest = ""
	p := ns.app.config.NamePolicy(tag.String())
	upstream, err := ns.upstream(n, p)
	if err != nil {
		return resolve.Resolution{}, err
	}
	aged := resolve.Aged{Upstream: upstream, Freshness: resolve.Freshness(p.Freshness), Patience: ns.patience(n), Note: ns.transports.stale}
	if aged.Freshness != resolve.Fresh {
		if aged.Refs, err = ns.app.openStore(); err != nil {
			return resolve.Resolution{}, err
		}
	}
	return aged.Resolve(ctx, n, known)
}

// upstream returns who answers for n by the policy. A digest in the name leaves
// nothing to agree on.
func (ns names) upstream(n name.Name, p config.NamePolicy) (resolve.Resolver, error) {
	may, attempt := mayAsk[n.Kind], ns.attempt(p)
	asked := p.Resolvers
	if asked == nil {
		asked = may.usual
	}
	if slices.Equal(asked, may.usual) && (!p.Agree || n.Digest != "") {
		if n.Kind == name.Registry {
			return mirrors.Names{Config: ns.transports.mirrors, Client: ns.transports.registry, Attempt: attempt, Note: ns.transports.unanswered}, nil
		}
		return ns.all.plain, nil
	}
	var witnesses []resolve.Witness
	applies := false
	for _, r := range asked {
		if !slices.Contains(may.all(), r) {
			continue
		}
		applies = true
		more, err := ns.witnesses(n, r)
		if err != nil {
			return nil, err
		}
		witnesses = append(witnesses, more...)
	}
	if !applies {
		return nil, usageError{nil, fmt.Errorf("%s: none of the resolvers %s knows of names like %s; there are %s",
			p.From["resolvers"], strings.Join(asked, ", "), n, strings.Join(may.all(), ", "))}
	}
	if p.Agree && n.Digest == "" {
		return resolve.Agree{Witnesses: witnesses}, nil
	}
	return resolve.First{Witnesses: witnesses, Attempt: attempt, Note: ns.transports.unanswered}, nil
}

// patience is how long those who are asked may take until the record of an
// earlier answer stands in. What goes on with places that aren't asked by HTTP
// isn't heard, so they only have an end.
func (ns names) patience(n name.Name) resolve.Patience {
	p := resolve.PatienceFor(ns.app.config.Resolve.StaleAfter)
	scheme, _, _ := strings.Cut(n.Path, ":")
	if n.Kind == name.Place && !slices.Contains([]string{"s3", "gs", "azblob", "ipfs", "ipns"}, strings.ToLower(scheme)) {
		p.Silence = 0
	}
	return p
}

// attempt is how long each but the last of those asked may take, so that the
// last one is asked before the record of an earlier answer stands in.
func (ns names) attempt(p config.NamePolicy) resolve.Patience {
	attempt := resolve.Patience{Whole: 5 * time.Second}
	if p.Freshness == string(resolve.StaleOK) {
		all := resolve.PatienceFor(ns.app.config.Resolve.StaleAfter)
		attempt = resolve.Patience{Silence: all.Silence * 3 / 4, Whole: min(attempt.Whole, all.Whole/2)}
	}
	return attempt
}

// witnesses are those behind the name that policies have for a resolver: of
// mirrors each is one.
func (ns names) witnesses(n name.Name, r string) ([]resolve.Witness, error) {
	one := func(by resolve.Resolver) []resolve.Witness { return []resolve.Witness{{Name: r, Resolver: by}} }
	switch r {
	case "registry", "mirrors":
		return ns.endpoints(n, r)
	case "xdg":
		return one(ns.all.xdg), nil
	case "well-known":
		return one(ns.all.wellKnown), nil
	case resolve.StoreName:
		st, err := ns.app.openStore()
		return one(resolve.Store{Refs: st}), err
	}
	return one(ns.all.plain), nil
}

// about tells of what stood in a document: that something in it is ignored, or
// that there is none.
func (t *transports) about(n discovery.Note) {
	what := pull.EventDocument
	switch {
	case n.Ignored:
		what = pull.EventIgnored
	case n.Absent:
		what = pull.EventAbsent
	}
	t.note(what, n.Where, n.Text)
}

// unanswered tells of who had no answer for a name, and stale of an answer from
// the store that stands in.
func (t *transports) unanswered(where, text string) { t.note(pull.EventUnanswered, where, text) }
func (t *transports) stale(where, text string)      { t.note(pull.EventWarning, where, text) }
