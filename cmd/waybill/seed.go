package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/pull"
)

// torrentsOf returns the sources among from that are torrents.
func torrentsOf(from []string) []string {
	var all []string
	for _, uri := range from {
		scheme, _, _ := strings.Cut(uri, ":")
		if scheme == "magnet" || scheme == "torrent" {
			all = append(all, uri)
		}
	}
	return all
}

// checkSeed says what is wrong with --seed beside the other flags.
func (a *app) checkSeed(cmd *cobra.Command, from []string) error {
	switch {
	case !a.flags.seed:
		return nil
	case a.flags.offline:
		return usageError{cmd, errors.New("--seed and --offline can't both be meant")}
	case len(torrentsOf(from)) == 0:
		return usageError{cmd, errors.New("--seed uploads to the peers of a torrent; name one with --from magnet:… or --from torrent:FILE")}
	}
	return nil
}

// seed serves what was pulled to the peers of the torrents it came from, until
// the user interrupts.
func (a *app) seed(ctx context.Context, record *pull.Record, from []string) error {
	results, asked := make(chan error), 0
	for _, uri := range torrentsOf(from) {
		for _, b := range record.Blobs {
			desc := ocispec.Descriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}
			go func() { results <- a.reading.torrents.Seed(ctx, uri, desc) }()
			asked++
		}
	}
	if !a.flags.quiet {
		fmt.Fprintln(a.stderr, "seeding until interrupted")
	}
	// What a torrent doesn't have fails at once; what it has is served until
	// the end.
	var first error
	for range asked {
		if err := <-results; first == nil {
			first = err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("nothing to seed: %w", first)
}
