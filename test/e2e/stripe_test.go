package e2e

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/test/places"
	"github.com/waybill-project/waybill/test/realserver"
)

// sourceOf finds what explain says of the place.
func (d *explainDoc) sourceOf(p place) *explainedSource {
	for n, s := range d.Sources {
		if s.URI == p.uri() {
			return &d.Sources[n]
		}
	}
	return nil
}

// servedByAll reports whether every place served something.
func (d *explainDoc) servedByAll(all []place) bool {
	for _, p := range all {
		if s := d.sourceOf(p); s == nil || len(s.Ranges) == 0 {
			return false
		}
	}
	return true
}

// TestStripeOverEveryTransport: one blob of 200 MB comes from a registry, a web
// server, an SSH host, an object store, IPFS and a torrent at once, over 10 MB/s
// each. Each gives part of it, and explain says which.
func TestStripeOverEveryTransport(t *testing.T) {
	i := randomImage(t, 200e6)
	u := newUser(t)
	args := []string{"pull", i.withoutLayers(t).name()}
	var all []place
	for _, kind := range places.All {
		start := kind.Start
		if kind.Name == "BitTorrent" {
			start = places.TorrentFile
		}
		p := startPlaceAt(t, start, u, i, linkRate)
		all = append(all, p)
		args = append(args, "--from", p.uri())
	}
	var doc explainDoc
	for attempt := 0; attempt < 3 && !doc.servedByAll(all); attempt++ {
		u.store = t.TempDir()
		for _, p := range all {
			if p.Turn == nil {
				continue
			}
			// Or the others are done before it begins; on a machine that stands
			// still for a second they are anyway, so that it is tried again.
			if err := p.Turn(t.Context(), 800*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		u.run(args...).exits(0)
		wantStored(t, u, i, i.digests(t)...)
		doc = explainDoc{}
		u.run("explain", "--json").exits(0).decode(&doc)
	}
	blob := i.layers[0].Digest
	var sum int64
	for _, p := range all {
		s := doc.sourceOf(p)
		if s == nil {
			t.Errorf("explain doesn't list %s, %s", p.Name, p.uri())
			continue
		}
		var n int64
		for _, r := range s.Ranges {
			if r.Digest == blob {
				n += r.Length
			}
		}
		sum += n
		t.Logf("%-10s %5.1f MB of the blob, %5.1f MB over the link, %s %s", p.Name, float64(n)/1e6, float64(p.relay.Sent())/1e6, s.Status, s.Reason)
		if n == 0 || s.Status != "used" {
			t.Errorf("%s served %d bytes of the blob: %s %s", p.Name, n, s.Status, s.Reason)
		}
	}
	if sum != i.layers[0].Size {
		t.Errorf("the places served %d bytes of %d", sum, i.layers[0].Size)
	}
	picture := u.run("explain").exits(0).stdout
	for _, p := range all {
		if !strings.Contains(picture, p.uri()) {
			t.Errorf("explain doesn't show %s:\n%s", p.uri(), picture)
		}
	}
}

// TestPlaceDies: each kind of server is killed in the middle of a pull. Where
// there is another, it finishes; where there is none, the error says what
// happened and what came is kept; when the server is back, the rest comes.
func TestPlaceDies(t *testing.T) {
	t.Parallel()
	for _, kind := range places.All {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			i := randomImage(t, 24e6)
			u := newUser(t)
			p := startPlace(t, kind.Start, u, i)
			manifests := i.withoutLayers(t).name()
			ended := u.dying(t, p, i, "pull", manifests, "--from", p.uri())
			ended.exits(1).says(p.uri())
			if strings.Contains(ended.stderr, "verif") {
				t.Errorf("%s\na server that dies isn't one that lies", ended)
			}
			var usage usageDoc
			u.run("df", "--json").exits(0).decode(&usage)
			if usage.IngestBytes == nil || *usage.IngestBytes == 0 {
				t.Errorf("nothing of what came was kept: %+v", usage)
			}
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := p.relay.Sent()
			u.run("pull", manifests, "--from", p.uri()).exits(0)
			wantStored(t, u, i, i.digests(t)...)
			if again := p.relay.Sent() - before; again > i.size(t)*9/10 {
				t.Errorf("%d bytes were sent after the restart, of %d: nothing was resumed", again, i.size(t))
			}

			other := newUser(t)
			other.env, other.home = u.env, u.home
			mirror := startNginx(t, i.Dir, realserver.NginxOptions{})
			o := other.dying(t, p, i, "pull", manifests, "--from", p.uri(), "--from", mirror.URL+"/blobs/")
			o.exits(0)
			wantStored(t, other, i, i.digests(t)...)
		})
	}
}

// dying runs waybill and kills the place's server when it has sent a part of
// the image.
func (u *user) dying(t *testing.T, p place, i *image, args ...string) *outcome {
	t.Helper()
	cmd := u.command(t.Context(), u.onStore(args)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	before := p.relay.Sent()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
waiting:
	for p.relay.Sent()-before < i.size(t)/3 {
		select {
		case err = <-ended:
			ended <- err
			break waiting
		case <-time.After(5 * time.Millisecond):
		}
	}
	p.Stop()
	p.relay.Cut()
	<-ended
	o := &outcome{t: t, args: args, stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	o.sane()
	return o
}
