package main

import (
	"context"
	"fmt"
	"time"

	"github.com/waybill-project/waybill/internal/faultserver"
)

// faultsCase is table (c): two sources, of which one goes bad when half of the
// layer is there.
func faultsCase(ctx context.Context, b *bench) (table, error) {
	const rate = 20 // MB/s, of each
	size := b.size(4e8, 8e7)
	t := table{
		title: "(c) A source that goes bad half-way",
		about: fmt.Sprintf("One layer of %s from two sources of %d MB/s. When half of it was sent, one of them goes bad. "+
			"The ideal is what the sum of the limits allows before that and the good one's alone after it.", sizeName(size), rate),
		header: []string{"one source", "ideal s", "wall s", "least–most", "beyond the ideal s", "CPU s"},
	}
	i, err := b.randomImage(3, size)
	if err != nil {
		return t, err
	}
	name, err := i.manifestOnly(b)
	if err != nil {
		return t, err
	}
	half := time.Duration(float64(i.size()) / 2 / (2 * rate * mb) * float64(time.Second))
	alone := time.Duration(float64(i.size()) / 2 / (rate * mb) * float64(time.Second))
	ideal := half + alone
	kinds := []struct {
		name string
		// goBad makes it so; it is called when half of the layer was sent.
		goBad func(*faultserver.Server)
	}{
		{"dies (connections reset, then refused)", func(s *faultserver.Server) { s.Kill() }},
		{"stalls (connections stay open, nothing comes)", func(s *faultserver.Server) {
			s.SetFaults(faultserver.Fault{StallHeaders: true})
			s.SetRate(1)
		}},
		{"lies (every answer begun from then on is wrong)", func(s *faultserver.Server) {
			s.SetFaults(faultserver.Fault{Lie: &faultserver.Lie{Seed: 1}})
		}},
	}
	for _, kind := range kinds {
		results, err := b.race(ctx, b.times(3), false, b.goingBad(i, name, rate, kind.name, kind.goBad))
		if err != nil {
			return t, err
		}
		wall := results[0].wall()
		t.row(kind.name, seconds(ideal), seconds(wall), results[0].spread(), fmt.Sprintf("%+.2f", (wall-ideal).Seconds()), seconds(results[0].cpu()))
		t.goal(wall <= ideal+2*time.Second, fmt.Sprintf("%+.2f s", (wall-ideal).Seconds()), "%s: within 2 s of the ideal", kind.name)
	}
	return t, nil
}

// goingBad is a pull from two servers, one of which goes bad half-way.
func (b *bench) goingBad(i *image, name string, rate int64, title string, goBad func(*faultserver.Server)) contender {
	return contender{title, func(ctx context.Context, dir string) (measurement, error) {
		servers, err := startServers(i, []int64{rate, rate})
		if err != nil {
			return measurement{}, err
		}
		defer stopServers(servers)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			for ctx.Err() == nil {
				if servers[0].Stats().Bytes+servers[1].Stats().Bytes >= i.size()/2 {
					goBad(servers[1])
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
		m, err := b.fromSources(name, servers).once(ctx, dir)
		cancel()
		<-watching
		return m, err
	}}
}
