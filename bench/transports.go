package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-project/waybill/test/places"
	"github.com/waybill-project/waybill/test/realserver"
)

// transportsCase is table (f): each transport by itself, beside the protocol's
// own tool.
func transportsCase(ctx context.Context, b *bench) (table, error) {
	size := b.size(1e9, 1e8)
	b.warm = 3 * size
	defer func() { b.warm = 0 }()
	t := table{
		title: "(f) Each transport alone, beside its own tool",
		about: fmt.Sprintf("One layer of %s from one real server on loopback, with no limit. `waybill pull` verifies it, and has it on the disk when it ends; the tool copies it to a file in the page cache, unverified. "+
			"The third column is the same work: the tool, then `openssl dgst -sha256`, which is the fastest there is here, and `sync` of its file. Before every run as much memory as it may need is touched once, which a virtual machine is slow to give. "+
			"BitTorrent's is libtorrent, which lets every peer in at once; transmission sends no more than 8 to 14 MB/s to either.", sizeName(size)),
		header: []string{"server", "waybill s", "tool s", "tool, verified s", "wall ÷ tool", "wall ÷ verified", "waybill's runs", "tool's runs", "verified's runs", "waybill CPU s", "tool CPU s", "tool"},
	}
	i, err := b.randomImage(6, size)
	if err != nil {
		return t, err
	}
	name, err := i.manifestOnly(b)
	if err != nil {
		return t, err
	}
	chosen, err := chooseAlone(b.places)
	if err != nil {
		return t, err
	}
	for _, start := range chosen {
		if err := b.beside(ctx, &t, start, i, name); err != nil {
			return t, err
		}
	}
	return t, nil
}

// alone are the places of case f, by their names.
var alone = []struct {
	name  string
	start places.Starter
}{
	{"registry", places.Registry}, {"nginx", places.Nginx}, {"SSH", places.SSH}, {"FTP", places.FTP},
	{"S3", places.S3}, {"IPFS", places.IPFS}, {"BitTorrent", places.FastBitTorrent},
}

// chooseAlone returns those of alone that a list names, or all for an empty one.
func chooseAlone(list string) ([]places.Starter, error) {
	named := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		named[strings.ToLower(strings.TrimSpace(name))] = true
	}
	var chosen []places.Starter
	for _, p := range alone {
		if lower := strings.ToLower(p.name); list == "" || named[lower] {
			chosen = append(chosen, p.start)
			delete(named, lower)
		}
	}
	if list != "" && len(named) > 0 {
		return nil, fmt.Errorf("no places %q: there are registry, nginx, SSH, FTP, S3, IPFS and BitTorrent", slices.Sorted(maps.Keys(named)))
	}
	return chosen, nil
}

// beside adds the row of one place.
func (b *bench) beside(ctx context.Context, t *table, start places.Starter, i *image, name string) error {
	dir, err := b.sub("place")
	if err != nil {
		return err
	}
	p, err := start(ctx, dir, i.layout.Dir)
	if err != nil {
		return err
	}
	defer func() { p.Stop() }()
	file := filepath.Join("blobs", "sha256", i.layers[0].Digest.Encoded())
	ours := contender{"waybill, " + p.Name, func(ctx context.Context, dir string) (measurement, error) {
		u, err := enabled(p, dir, p.Addr)
		if err != nil {
			return measurement{}, err
		}
		return measure(u.command(ctx, b.waybill, "pull", "-q", "--store", dir+"/store", name, "--from", p.URI(p.Addr)))
	}}
	tool := contender{"its tool, " + p.Name, func(ctx context.Context, dir string) (measurement, error) {
		return native(ctx, p, file, dir)
	}}
	verified := contender{"verified, " + p.Name, func(ctx context.Context, dir string) (measurement, error) {
		m, err := native(ctx, p, file, dir)
		if err != nil {
			return m, err
		}
		layer, err := largestFile(dir)
		for _, args := range [][]string{{"openssl", "dgst", "-sha256", layer}, {"sync", layer}} {
			if err == nil {
				var next measurement
				next, err = measure(command(ctx, dir, args[0], args[1:]...))
				m = m.then(next)
			}
		}
		return m, err
	}}
	results, err := b.race(ctx, b.times(5), false, ours, tool, verified)
	if err != nil {
		return err
	}
	program := filepath.Base(p.Native(&places.User{}, p.Addr, file, "")[0])
	raw, same := ratio(results[0].wall(), results[1].wall()), ratio(results[0].wall(), results[2].wall())
	t.row(p.Name, seconds(results[0].wall()), seconds(results[1].wall()), seconds(results[2].wall()), times(raw), times(same),
		results[0].spread(), results[1].spread(), results[2].spread(), seconds(results[0].cpu()), seconds(results[1].cpu()), program)
	t.goal(raw <= 1, times(raw), "%s: at least as fast as %s, which doesn't verify", p.Name, program)
	t.goal(same <= 1, times(same), "%s: at least as fast as %s, openssl dgst and sync", p.Name, program)
	return nil
}

// native has the place's own tool copy a file to "layer" in dir.
func native(ctx context.Context, p *places.Place, file, dir string) (measurement, error) {
	u, err := enabled(p, dir, p.Addr)
	if err != nil {
		return measurement{}, err
	}
	args := p.Native(&u.User, p.Addr, file, filepath.Join(dir, "layer"))
	return measure(u.command(ctx, args[0], args[1:]...))
}

// largestFile returns the path of what a tool made in a directory: some call it by
// the name in a torrent.
func largestFile(dir string) (largest string, err error) {
	most := int64(-1)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > most {
			largest, most = path, info.Size()
		}
		return err
	})
	return largest, err
}

// reader is a user for whom a place is enabled.
type reader struct{ places.User }

// enabled makes a user, whose home is dir, who can read from p at addr.
func enabled(p *places.Place, dir, addr string) (*reader, error) {
	r := &reader{places.User{Home: dir}}
	if err := p.Enable(&r.User, addr); err != nil {
		return nil, err
	}
	return r, r.configure()
}

// configure writes the user's configuration of waybill.
func (r *reader) configure() error {
	dir := filepath.Join(r.Home, ".config", "waybill")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.toml"), []byte(r.Config), 0o644)
}

// command is a program the user runs.
func (r *reader) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := command(ctx, r.Home, name, args...)
	cmd.Env = append(cmd.Env, r.Env...)
	return cmd
}

// unlikeCase is table (g): one blob from places of every kind at once.
func unlikeCase(ctx context.Context, b *bench) (table, error) {
	const rate = 10 // MB/s, of each
	size := b.size(200e6, 60e6)
	t := table{
		title: "(g) Six unlike sources at once, each limited",
		about: fmt.Sprintf("One layer of %s from a registry, nginx, sshd, an S3 server, kubo's gateway and transmission, each behind a link of %d MB/s. "+
			"transmission lets a new peer in only at its next turn, every ten seconds, if that came half a second before, and then answers twice a second: "+
			"of a pull that begins 0.6 s before the turn, and so shows all six, it sends little in the first 1.3 s. That bounds the six at some 0.94 of the sum; "+
			"a pull that begins at most other moments is over before, and shows the five that are at hand.", sizeName(size), rate),
		header: []string{"pull", "sum MB/s", "wall s", "MB/s", "of the sum", "from each, MB"},
	}
	i, err := b.randomImage(7, size)
	if err != nil {
		return t, err
	}
	name, err := i.manifestOnly(b)
	if err != nil {
		return t, err
	}
	links, err := b.startLinks(ctx, i, rate*mb)
	defer func() { stopLinks(links) }()
	if err != nil {
		return t, err
	}
	for _, row := range []struct {
		name  string
		links []link
	}{{"five, without BitTorrent", links[:5]}, {"all six", links}} {
		var shares string
		results, err := b.race(ctx, b.times(5), false, contender{row.name, func(ctx context.Context, dir string) (measurement, error) {
			m, s, err := b.pullLinks(ctx, dir, name, row.links)
			shares = s
			return m, err
		}})
		if err != nil {
			return t, err
		}
		sum := float64(rate * len(row.links))
		speed := float64(i.size()) / mb / results[0].wall().Seconds()
		t.row(row.name, fmt.Sprintf("%.0f", sum), seconds(results[0].wall()), fmt.Sprintf("%.1f", speed), times(speed/sum), shares)
		t.goal(speed >= 0.9*sum, times(speed/sum), "%s: at least 0.9 of the sum", row.name)
	}
	return t, nil
}

// link is a place behind a slow link.
type link struct {
	*places.Place
	relay *realserver.Relay
}

func (b *bench) startLinks(ctx context.Context, i *image, bytesPerSecond int) ([]link, error) {
	var links []link
	for _, kind := range places.All {
		dir, err := b.sub("place")
		if err != nil {
			return links, err
		}
		start := kind.Start
		if kind.Name == "BitTorrent" {
			start = places.TorrentFile
		}
		p, err := start(ctx, dir, i.layout.Dir)
		if err != nil {
			return links, err
		}
		relay, err := realserver.StartRelay("127.0.0.1:0", p.Addr, bytesPerSecond)
		if err != nil {
			p.Stop()
			return links, err
		}
		links = append(links, link{p, relay})
	}
	return links, nil
}

func stopLinks(links []link) {
	for _, l := range links {
		l.relay.Stop()
		l.Stop()
	}
}

// pullLinks pulls from all of the places, and says how much came over each link.
func (b *bench) pullLinks(ctx context.Context, dir, name string, links []link) (measurement, string, error) {
	u := &reader{places.User{Home: dir}}
	args := []string{"pull", "-q", "--store", dir + "/store", name}
	before := make([]int64, len(links))
	for n, l := range links {
		if err := l.Enable(&u.User, l.relay.Addr); err != nil {
			return measurement{}, "", err
		}
		args = append(args, "--from", l.URI(l.relay.Addr))
		before[n] = l.relay.Sent()
	}
	if err := u.configure(); err != nil {
		return measurement{}, "", err
	}
	if l := links[len(links)-1]; l.Turn != nil {
		if err := l.Turn(ctx, 600*time.Millisecond); err != nil {
			return measurement{}, "", err
		}
	}
	m, err := measure(u.command(ctx, b.waybill, args...))
	shares := make([]string, len(links))
	for n, l := range links {
		shares[n] = fmt.Sprintf("%s %.1f", l.Name, float64(l.relay.Sent()-before[n])/mb)
	}
	return m, list(shares), err
}
