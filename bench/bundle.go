package main

import (
	"context"
	"fmt"
)

// bundleCase is table (d): from a registry to a root file system that runs.
func bundleCase(ctx context.Context, b *bench) (table, error) {
	t := table{
		title: "(d) From a registry to a root file system",
		about: "Pull, verify and unpack a Debian, as root. `ctr images pull` unpacks with the native snapshotter, which makes plain directories as the others do. " +
			"Ratios are waybill's number divided by the row's.",
		header: []string{"", "wall s", "least–most", "waybill ÷ it", "CPU s", "waybill ÷ it", "peak MB"},
	}
	registry, err := b.startRegistry(ctx)
	if err != nil {
		return t, err
	}
	defer registry.Stop()
	i, err := b.realImage(ctx)
	if err != nil {
		return t, err
	}
	if err := i.push(ctx, b, registry, "debian"); err != nil {
		return t, err
	}
	name := registry.Host + "/debian:1"
	results, err := b.race(ctx, b.times(5), true,
		contender{"waybill bundle", func(ctx context.Context, dir string) (measurement, error) {
			return measure(command(ctx, dir, b.waybill, "bundle", "-q", "--store", dir+"/store", name, dir+"/bundle"))
		}},
		contender{"skopeo copy, umoci unpack", func(ctx context.Context, dir string) (measurement, error) {
			copied, err := measure(command(ctx, dir, "skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false",
				"docker://"+name, "oci:"+dir+"/layout:1"))
			if err != nil {
				return copied, err
			}
			unpacked, err := measure(command(ctx, dir, "umoci", "unpack", "--image", dir+"/layout:1", dir+"/bundle"))
			return copied.then(unpacked), err
		}},
		contender{"ctr images pull", func(ctx context.Context, dir string) (measurement, error) {
			return withContainerd(ctx, dir, "images", "pull", "--plain-http", "--snapshotter", "native", name)
		}},
	)
	if err != nil {
		return t, err
	}
	comparison(&t, "Debian, "+sizeName(i.size()), results)
	fastest := best(results[1:], result.wall)
	r := ratio(results[0].wall(), fastest.wall())
	t.goal(r <= 0.6, fmt.Sprintf("%.2f of %s", r, fastest.name), "at most 0.6 of the best peer's time")
	return t, nil
}
