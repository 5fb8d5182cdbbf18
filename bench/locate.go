package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

const (
	usefulPlaces = 9 // know where blobs are
	silentPlaces = 3 // never answer
)

// locateCase is table (h): what it costs to ask twelve where blobs are, three of
// whom never answer.
func locateCase(ctx context.Context, b *bench) (table, error) {
	blobs, located := int(b.size(200, 20)), int(b.size(100_000, 10_000))
	t := table{
		title: "(h) Twelve to ask where blobs are, three of whom never answer",
		about: fmt.Sprintf("%d blobs of 64 kB. Nine locators know a web server each, on this machine; three never answer: in the first two rows they wait until they are told to stop, "+
			"in the pull they are waybills on a server that takes the request and says nothing (`--waybill`). Beside them one of the nine alone. First route and first byte are measured in this program, "+
			"from the question on, and are medians over the blobs; the pull is `waybill pull`. The last row is the heap in use while %d descriptors are located by the nine that answer.", blobs, located),
		header: []string{"", "one alone", "twelve, three silent", "twelve ÷ one"},
	}
	i, err := b.smallLayers(blobs, 64_000)
	if err != nil {
		return t, err
	}
	servers, err := startServers(i, make([]int64, usefulPlaces))
	if err != nil {
		return t, err
	}
	defer stopServers(servers)
	var useful []locate.Locator
	for _, s := range servers {
		l, err := locate.From(s.URL()+"/", "--from")
		if err != nil {
			return t, err
		}
		useful = append(useful, l)
	}
	alone, twelve := useful[0], locate.All(slices.Concat(silent(), useful)...)

	route := [2]time.Duration{firstRoute(ctx, i, alone), firstRoute(ctx, i, twelve)}
	t.row("first route, µs", micros(route[0]), micros(route[1]), times(ratio(route[1], route[0])))
	var first [2]time.Duration
	for n, l := range []locate.Locator{alone, twelve} {
		if first[n], err = b.firstByte(ctx, i, l); err != nil {
			return t, err
		}
	}
	t.row("first byte, µs", micros(first[0]), micros(first[1]), times(ratio(first[1], first[0])))
	var one, all result
	for _, away := range []time.Duration{0, 10 * time.Millisecond} {
		for _, s := range servers {
			s.SetFaults(faultserver.Fault{Latency: away})
		}
		results, err := b.pullsBeside(ctx, i, servers)
		if err != nil {
			return t, err
		}
		one, all = results[0], results[1]
		t.row(fmt.Sprintf("pull, answers after %d ms, s", away.Milliseconds()), seconds(one.wall()), seconds(all.wall()), times(ratio(all.wall(), one.wall())))
		t.row("its peak, MB", megabytes(one.rss()), megabytes(all.rss()), times(ratio(all.rss(), one.rss())))
	}
	early, most := heapWhileLocating(ctx, located, locate.All(useful...))
	t.row("heap, MB", fmt.Sprintf("%.2f after 1000", mega(early)), fmt.Sprintf("%.2f at most after more", mega(most)), times(ratio(most, early)))

	t.goal(first[1]-first[0] < time.Millisecond, fmt.Sprintf("%v", (first[1]-first[0]).Round(time.Microsecond)), "the first byte is there less than a millisecond later than from one alone")
	t.goal(ratio(all.wall(), one.wall()) <= 1.1, times(ratio(all.wall(), one.wall())), "where answers take 10 ms the pull takes no longer than from one alone, within 1.1")
	t.goal(most-early < 512<<10, fmt.Sprintf("%d kB", (most-early)>>10), "memory is flat: less than 512 kB more in use after 1000 descriptors")
	return t, nil
}

// smallLayers is an image of many layers.
func (b *bench) smallLayers(n int, size int64) (*image, error) {
	dir, err := b.sub("image")
	if err != nil {
		return nil, err
	}
	l, err := testimage.NewLayout(dir)
	if err != nil {
		return nil, err
	}
	layers := make([]testimage.Layer, n)
	for k := range layers {
		if layers[k], err = l.AddLayer(testimage.Random(uint64(1000+k), size), testimage.None); err != nil {
			return nil, err
		}
	}
	return finish(l, layers...)
}

// silent are locators that never answer.
func silent() []locate.Locator {
	mute := locate.Func(func(ctx context.Context, _ ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(func(transport.Route, error) bool) { <-ctx.Done() }
	})
	return slices.Repeat([]locate.Locator{mute}, silentPlaces)
}

// firstRoute is how long it takes until the first route of a blob is known.
func firstRoute(ctx context.Context, i *image, l locate.Locator) time.Duration {
	var took []time.Duration
	for _, layer := range i.layers {
		began := time.Now()
		for range l.Locate(ctx, layer.Descriptor) {
			took = append(took, time.Since(began))
			break
		}
	}
	return middle(took)
}

// firstByte is how long it takes until the first byte of a blob arrives.
func (b *bench) firstByte(ctx context.Context, i *image, l locate.Locator) (time.Duration, error) {
	dir, err := b.sub("store")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return 0, err
	}
	client := httpclient.New(httpclient.Options{})
	defer client.CloseIdleConnections()
	watch := &stopwatch{transport: https.New(client), first: make(chan time.Time, 1)}
	engine := fetch.New(fetch.Options{Store: st, Transport: watch})
	var took []time.Duration
	for _, layer := range i.layers {
		began := time.Now()
		if _, err := engine.Fetch(ctx, layer.Descriptor, l.Locate(ctx, layer.Descriptor)); err != nil {
			return 0, err
		}
		took = append(took, (<-watch.first).Sub(began))
	}
	return middle(took), nil
}

// stopwatch tells when the first byte arrives.
type stopwatch struct {
	transport transport.Transport
	first     chan time.Time // emptied after each blob
}

// Open implements [transport.Transport].
func (w *stopwatch) Open(ctx context.Context, r transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	body, err := w.transport.Open(ctx, r, desc, offset, length)
	if err != nil {
		return nil, err
	}
	return &watched{body, w}, nil
}

type watched struct {
	io.ReadCloser
	w *stopwatch
}

// Read implements [io.Reader].
func (r *watched) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 {
		select {
		case r.w.first <- time.Now():
		default: // it isn't the first
		}
	}
	return n, err
}

// pullsBeside measures pulls from one of the servers, and from all of them with
// waybills given that never come.
func (b *bench) pullsBeside(ctx context.Context, i *image, servers []*faultserver.Server) ([]result, error) {
	name, err := i.manifestOnly(b)
	if err != nil {
		return nil, err
	}
	mute, err := faultserver.New(faultserver.Options{Faults: []faultserver.Fault{{StallHeaders: true}}})
	if err != nil {
		return nil, err
	}
	defer mute.Close()
	twelve := contender{"waybill, twelve to ask", func(ctx context.Context, dir string) (measurement, error) {
		args := []string{"pull", "-q", "--store", dir + "/store", name}
		for _, s := range servers {
			args = append(args, "--from", s.URL()+"/")
		}
		for n := range silentPlaces {
			args = append(args, "--waybill", fmt.Sprintf("%s/%d.json", mute.URL(), n))
		}
		return measure(command(ctx, dir, b.waybill, args...))
	}}
	return b.race(ctx, b.times(5), false, b.fromSources(name, servers[:1]), twelve)
}

// heapWhileLocating is how much of the heap is in use after a thousand
// descriptors were located, and the most after more.
func heapWhileLocating(ctx context.Context, n int, l locate.Locator) (early, most int64) {
	for k := range n {
		desc := ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint(k)), Size: int64(k)}
		for range l.Locate(ctx, desc) {
			continue
		}
		if k != 1000 && (k+1)%10_000 != 0 {
			continue
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		if early == 0 {
			early = int64(m.HeapAlloc)
		}
		most = max(most, int64(m.HeapAlloc))
	}
	return early, most
}

func middle(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[(len(list)-1)/2]
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Nanoseconds())/1e3) }

func mega(n int64) float64 { return float64(n) / 1e6 }
