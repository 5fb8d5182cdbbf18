package main

import (
	"context"
	"fmt"

	"github.com/waybill-project/waybill/internal/faultserver"
)

const mb = 1_000_000

// manySourcesCase is table (b): sources that are each limited, alone the slow
// part; what comes of several at once.
func manySourcesCase(ctx context.Context, b *bench) (table, error) {
	size := b.size(1e9, 6e7)
	t := table{
		title: "(b) Several sources, each limited",
		about: fmt.Sprintf("One layer of %s from web servers that each send no more than a token bucket lets through, whatever the number of connections. "+
			"The sum of the limits is the physical bound. aria2c gets the same URLs, two connections for each (`-x 2 -s 2N -k 1M`), and checks the same SHA-256.", sizeName(size)),
		header: []string{"sources, MB/s each", "sum MB/s", "waybill MB/s", "of the sum", "aria2c MB/s", "of the sum", "waybill CPU s", "aria2c CPU s"},
	}
	i, err := b.randomImage(2, size)
	if err != nil {
		return t, err
	}
	name, err := i.manifestOnly(b)
	if err != nil {
		return t, err
	}
	sets := [][]int64{{20}, {20, 20}, {20, 20, 20, 20}, {20, 20, 20, 20, 20, 20, 20, 20}, {5, 10, 20, 40}}
	for _, rates := range sets {
		servers, err := startServers(i, rates)
		if err != nil {
			return t, err
		}
		results, err := b.race(ctx, b.times(3), false, b.fromSources(name, servers), aria2(i, servers))
		stopServers(servers)
		if err != nil {
			return t, err
		}
		var sum, fastest int64
		words := make([]string, len(rates))
		for n, r := range rates {
			sum, fastest = sum+r, max(fastest, r)
			words[n] = fmt.Sprint(r)
		}
		speed := func(r result) float64 { return float64(i.size()) / mb / r.wall().Seconds() }
		ours, theirs := speed(results[0]), speed(results[1])
		title := fmt.Sprintf("%d: %s", len(rates), list(words))
		t.row(title, fmt.Sprint(sum), fmt.Sprintf("%.1f", ours), times(ours/float64(sum)),
			fmt.Sprintf("%.1f", theirs), times(theirs/float64(sum)), seconds(results[0].cpu()), seconds(results[1].cpu()))
		t.goal(ours >= 0.95*float64(sum), times(ours/float64(sum)), "%s: at least 0.95 of the sum", title)
		t.goal(ours >= 0.95*float64(fastest), fmt.Sprintf("%.1f MB/s", ours), "%s: never below the fastest source alone, %d MB/s", title, fastest)
	}
	return t, nil
}

// startServers starts a server with all blobs of the image for each rate, in
// MB/s.
func startServers(i *image, rates []int64) ([]*faultserver.Server, error) {
	blobs, err := i.blobs()
	if err != nil {
		return nil, err
	}
	var servers []*faultserver.Server
	for n, r := range rates {
		// Each has a loopback address of its own: to aria2c a host is one server,
		// whatever the port.
		s, err := faultserver.New(faultserver.Options{Addr: fmt.Sprintf("127.0.0.%d:0", n+1), Blobs: blobs, Rate: r * mb})
		if err != nil {
			stopServers(servers)
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func stopServers(servers []*faultserver.Server) {
	for _, s := range servers {
		s.Close()
	}
}

// fromSources is waybill pulling from all servers.
func (b *bench) fromSources(name string, servers []*faultserver.Server) contender {
	return contender{fmt.Sprintf("waybill, %d sources", len(servers)), func(ctx context.Context, dir string) (measurement, error) {
		args := []string{"pull", "-q", "--store", dir + "/store", name}
		for _, s := range servers {
			args = append(args, "--from", s.URL()+"/")
		}
		return measure(command(ctx, dir, b.waybill, args...))
	}}
}

// aria2 is aria2c getting the image's layer from all servers.
func aria2(i *image, servers []*faultserver.Server) contender {
	return contender{fmt.Sprintf("aria2c, %d sources", len(servers)), func(ctx context.Context, dir string) (measurement, error) {
		layer := i.layers[0]
		args := []string{
			"--quiet", "--no-conf", "--file-allocation=falloc", "--min-split-size=1M",
			"--max-connection-per-server=2", fmt.Sprintf("--split=%d", 2*len(servers)),
			"--checksum=sha-256=" + layer.Digest.Encoded(), "--out=layer",
		}
		for _, s := range servers {
			args = append(args, s.BlobURL(layer.Digest))
		}
		return measure(command(ctx, dir, "aria2c", args...))
	}}
}
