package main

import (
	"context"
	"fmt"
	"time"
)

// registryCase is table (a): one registry on this machine, a real image and a
// large layer, every program that can pull.
func registryCase(ctx context.Context, b *bench) (table, error) {
	t := table{
		title: "(a) One registry on the same machine",
		about: "A docker-registry over plain HTTP. Each program pulls the image, verifies it and keeps it. " +
			"Waybill and containerd sync what they keep to the disk before they end; the others leave that to the kernel. " +
			"The plain read is one connection that reads, hashes and writes the layers one after the other, with no image tooling around it. " +
			"Ratios are waybill's number divided by the row's: below 1 waybill is faster or leaner.",
		header: []string{"", "wall s", "least–most", "waybill ÷ it", "CPU s", "waybill ÷ it", "peak MB"},
	}
	registry, err := b.startRegistry(ctx)
	if err != nil {
		return t, err
	}
	defer registry.Stop()
	real, err := b.realImage(ctx)
	if err != nil {
		return t, err
	}
	large, err := b.randomImage(1, b.size(1e9, 1e8))
	if err != nil {
		return t, err
	}
	images := []struct {
		name, repository string
		image            *image
	}{
		{"Debian", "debian", real},
		{"one random layer", "random", large},
	}
	for _, i := range images {
		if err := i.image.push(ctx, b, registry, i.repository); err != nil {
			return t, err
		}
		title := fmt.Sprintf("%s, %s", i.name, sizeName(i.image.size()))
		contenders := append(b.pullers(registry.Host, i.repository), plainReader(i.image.urls(registry, i.repository)))
		results, err := b.race(ctx, b.times(5), false, contenders...)
		if err != nil {
			return t, err
		}
		comparison(&t, title, results)
		ours, peers := results[0], results[1:len(results)-1]
		fastest, leanest := best(peers, result.wall), best(peers, result.cpu)
		r := ratio(ours.wall(), fastest.wall())
		t.goal(r <= 1, fmt.Sprintf("%.2f of %s", r, fastest.name), "%s: wall time no worse than the fastest peer", title)
		r = ratio(ours.cpu(), leanest.cpu())
		t.goal(r <= 1.1, fmt.Sprintf("%.2f of %s", r, leanest.name), "%s: CPU at most 1.1 of the leanest peer", title)
	}
	return t, nil
}

// comparison adds rows that hold the first result against the others.
func comparison(t *table, title string, results []result) {
	blank := make([]string, len(t.header))
	blank[0] = "**" + title + "**"
	t.row(blank...)
	ours := results[0]
	for _, r := range results {
		t.row(r.name, seconds(r.wall()), r.spread(), times(ratio(ours.wall(), r.wall())),
			seconds(r.cpu()), times(ratio(ours.cpu(), r.cpu())), megabytes(r.rss()))
	}
}

// best is the result with the smallest number.
func best(results []result, number func(result) time.Duration) result {
	least := results[0]
	for _, r := range results[1:] {
		if number(r) < number(least) {
			least = r
		}
	}
	return least
}
