package main

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// bundleOutput is what bundle prints with --json of a bundle that is no image.
type bundleOutput struct {
	Name   string `json:"name"`
	Bundle string `json:"bundle"`
}

// bundleTree fetches an IPFS directory that is a runtime bundle itself. It is
// not done where the place is an OCI layout, or of another kind.
func (a *app) bundleTree(ctx context.Context, n name.Name, dir string) (done bool, err error) {
	scheme, _, _ := strings.Cut(n.Path, ":")
	if n.Kind != name.Place || scheme != "ipfs" && scheme != "ipns" || n.Ref != "" || n.Digest != "" || a.flags.offline {
		return false, nil
	}
	t, err := a.transports()
	if err != nil {
		return false, err
	}
	if _, err := t.gateways.Entries(ctx, n); !errors.Is(err, transport.ErrNotFound) {
		return false, nil // a layout, or nobody can tell: the pull will
	}
	err = bundle.CreateTree(ctx, dir, treeEntries(t.gateways.Walk(ctx, n.Path)), bundle.TreeOptions{
		MaxBytes: a.config.Bundle.MaxSize,
		Warn:     func(message string) { a.warn("%s", oneLine(message)) },
	})
	if err != nil {
		return false, err
	}
	if a.flags.json {
		return true, a.printJSON(bundleOutput{n.String(), dir})
	}
	return true, a.printf("%s\n", n.Path)
}

// treeEntries tells package bundle of a directory in IPFS in its own words.
func treeEntries(walk iter.Seq2[ipfs.Entry, error]) iter.Seq2[bundle.TreeEntry, error] {
	return func(yield func(bundle.TreeEntry, error) bool) {
		for e, err := range walk {
			if !yield(bundle.TreeEntry(e), err) {
				return
			}
		}
	}
}
