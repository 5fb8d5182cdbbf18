package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/waybill-project/waybill/test/realserver"
)

// pullers are the programs that can pull an image from a registry at host over
// plain HTTP and keep it, verified. The first is ours.
func (b *bench) pullers(host, repository string) []contender {
	image := host + "/" + repository + ":1"
	single := func(name string, args func(dir string) []string) contender {
		return contender{name, func(ctx context.Context, dir string) (measurement, error) {
			a := args(dir)
			return measure(command(ctx, dir, a[0], a[1:]...))
		}}
	}
	return []contender{
		single("waybill pull", func(dir string) []string {
			return []string{b.waybill, "pull", "-q", "--store", dir + "/store", image}
		}),
		single("crane pull", func(dir string) []string {
			return []string{"crane", "pull", "--insecure", "--format", "oci", image, dir + "/layout"}
		}),
		single("skopeo copy", func(dir string) []string {
			return []string{"skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "docker://" + image, "oci:" + dir + "/layout:1"}
		}),
		single("oras copy", func(dir string) []string {
			return []string{"oras", "copy", "--no-tty", "--from-plain-http", "--to-oci-layout", image, dir + "/layout:1"}
		}),
		single("regctl image copy", func(dir string) []string {
			return []string{"regctl", "--host", "reg=" + host + ",tls=disabled", "image", "copy", image, "ocidir://" + dir + "/layout:1"}
		}),
		{"ctr content fetch", func(ctx context.Context, dir string) (measurement, error) {
			return withContainerd(ctx, dir, "content", "fetch", "--plain-http", image)
		}},
	}
}

// withContainerd runs ctr against a containerd of its own, which is started
// before and stopped after what is measured. The daemon does the work, so its
// processor time counts, less what it took to start, and its memory does.
func withContainerd(ctx context.Context, dir string, args ...string) (measurement, error) {
	daemon, err := realserver.StartContainerd(ctx, filepath.Join(dir, "containerd"))
	if err != nil {
		return measurement{}, err
	}
	defer daemon.Stop()
	before, err := processCPU(daemon.PID())
	if err != nil {
		return measurement{}, err
	}
	m, err := measure(command(ctx, dir, "ctr", append([]string{"--address", daemon.Socket}, args...)...))
	if err != nil {
		return measurement{}, fmt.Errorf("%w\ncontainerd: %s", err, daemon.Log())
	}
	after, err := processCPU(daemon.PID())
	if err != nil {
		return measurement{}, err
	}
	rss, err := processRSS(daemon.PID())
	if err != nil {
		return measurement{}, err
	}
	m.cpu += after - before
	m.rss = max(m.rss, rss)
	return m, nil
}
