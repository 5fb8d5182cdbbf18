package main

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/internal/faultserver"
)

// memoryCase is table (e): what a layer's size does to peak memory.
func memoryCase(ctx context.Context, b *bench) (table, error) {
	const most = 100 * mb
	sizes := []int64{1e8, 1e9, 4e9}
	if b.quick {
		sizes = []int64{1e7, 1e8}
	}
	t := table{
		title:  "(e) Memory",
		about:  "Peak resident memory of a pull of one layer from a registry on the same machine, as fast as it goes, and from eight sources at once.",
		header: []string{"layer", "waybill, one registry, MB", "waybill, eight sources, MB", "crane MB", "skopeo MB", "oras MB", "regctl MB"},
	}
	var peaks []int64
	for n, size := range sizes {
		i, err := b.randomImage(uint64(10+n), size)
		if err != nil {
			return t, err
		}
		results, err := b.memory(ctx, i)
		if err != nil {
			return t, err
		}
		row := []string{sizeName(size)}
		for _, r := range results {
			row = append(row, megabytes(r.rss()))
		}
		t.row(row...)
		peak := max(results[0].rss(), results[1].rss())
		peaks = append(peaks, peak)
		t.goal(peak < most, megabytes(peak)+" MB", "%s: peak under 100 MB", sizeName(size))
	}
	grew := ratio(peaks[len(peaks)-1], peaks[0])
	t.goal(grew <= 1.25, times(grew), "flat: the largest layer takes no more than 1.25 of what the smallest does")
	return t, nil
}

// memory measures one image: waybill from one registry and from eight sources,
// then the peers from the registry.
func (b *bench) memory(ctx context.Context, i *image) ([]result, error) {
	blobs, err := i.blobs()
	if err != nil {
		return nil, err
	}
	registry, err := faultserver.New(faultserver.Options{Blobs: blobs, Tags: map[string]digest.Digest{"1": i.desc.Digest}})
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	defer registry.Close()
	name, err := i.manifestOnly(b)
	if err != nil {
		return nil, err
	}
	servers, err := startServers(i, make([]int64, 8))
	if err != nil {
		return nil, err
	}
	defer stopServers(servers)
	pullers := b.pullers(registry.Host(), "app")
	contenders := append([]contender{pullers[0], b.fromSources(name, servers)}, pullers[1:5]...)
	return b.race(ctx, b.times(3), false, contenders...)
}
