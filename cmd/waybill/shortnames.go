package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
)

// imageName reads an image's name from the command line. One without a registry
// is what registries.conf makes of it, or else at Docker Hub.
func (a *app) imageName(cmd *cobra.Command, s string) (name.Name, error) {
	n, err := parseName(cmd, s)
	short, ok := shortName(s, n)
	if err != nil || !ok {
		return n, err
	}
	t, err := a.transports()
	if err != nil {
		return n, err
	}
	all, err := t.mirrors.ShortName(short)
	switch {
	case err != nil:
		return n, err
	case len(all) == 0:
		return n, nil
	case len(all) == 1:
		a.detail("%s is %s, by %s", short, all[0].Name, all[0].From)
		return at(n, all[0]), nil
	case a.flags.offline:
		return a.stored(n, all)
	}
	return a.search(cmd.Context(), t, n, all)
}

// storedName is imageName for a name of something in the store.
func (a *app) storedName(cmd *cobra.Command, s string) (name.Name, error) {
	n, err := parseName(cmd, s)
	short, ok := shortName(s, n)
	if err != nil || !ok {
		return n, err
	}
	t, err := a.transports()
	if err != nil {
		return n, err
	}
	all, _ := t.mirrors.ShortName(short) // what is in the store can be told without
	return a.stored(n, append(all, mirrors.Alias{Name: n.Host + "/" + n.Repository}))
}

// stored returns the first of those that n may stand for that the store has; n
// itself where it has none.
func (a *app) stored(n name.Name, all []mirrors.Alias) (name.Name, error) {
	st, err := a.openStore()
	if err != nil {
		return n, err
	}
	for _, one := range all {
		if m := at(n, one); m.Digest == "" {
			if _, err := st.Ref(m.String()); err == nil {
				return m, nil
			}
		}
	}
	return n, nil
}

// search asks those that n may stand for until one has it, as podman does.
func (a *app) search(ctx context.Context, t *transports, n name.Name, all []mirrors.Alias) (name.Name, error) {
	resolver := a.names(t)
	var failed error
	for _, one := range all {
		m := at(n, one)
		_, err := resolver.Resolve(ctx, m, ocispec.Descriptor{})
		if err == nil {
			return m, nil
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		t.unanswered("docker://"+one.Name, err.Error())
		if failed == nil || errors.Is(failed, transport.ErrNotFound) || errors.Is(failed, resolve.ErrNotFound) {
			failed = err
		}
	}
	return n, fmt.Errorf("%s: none of the %d registries that %s names has an answer: %w", n.Familiar(), len(all), all[0].From, failed)
}

// at is n at a repository that it stands for.
func at(n name.Name, a mirrors.Alias) name.Name {
	n.Host, n.Repository, _ = strings.Cut(a.Name, "/")
	return n
}

// shortName returns the repository of a name that was written without a registry,
// as it was written.
func shortName(s string, n name.Name) (string, bool) {
	if n.Kind != name.Registry || strings.HasPrefix(s, "docker:") {
		return "", false
	}
	first, _, below := strings.Cut(s, "/")
	switch {
	case !below:
		return strings.TrimPrefix(n.Repository, "library/"), true
	case n.Repository == s, strings.HasPrefix(s, n.Repository+":"), strings.HasPrefix(s, n.Repository+"@"):
		return n.Repository, !strings.ContainsAny(first, ".:")
	}
	return "", false
}
