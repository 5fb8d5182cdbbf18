package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/probe"
	"github.com/waybill-project/waybill/progress"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/transport"
)

// locatedBlob is one of the "blobs" in the "locate" shape of the contract. There may
// be very many, so that each is written when it is known.
type locatedBlob struct {
	Digest    digest.Digest  `json:"digest"`
	Size      int64          `json:"size"`
	MediaType string         `json:"mediaType"`
	Routes    []locatedRoute `json:"routes"`
	// Problems are what locators couldn't say, and why.
	Problems []string `json:"problems,omitempty"`
}

type locatedRoute struct {
	URI      string       `json:"uri"`
	Priority int          `json:"priority"`
	Origin   string       `json:"origin"`
	Probe    *probeOutput `json:"probe,omitempty"`
}

type probeOutput struct {
	OK             bool    `json:"ok"`
	LatencyMs      float64 `json:"latencyMs"`
	BytesPerSecond int64   `json:"bytesPerSecond"`
	Ranges         bool    `json:"ranges"`
	Size           int64   `json:"size"`
	Error          string  `json:"error,omitempty"`
}

func (a *app) locateCommand() *cobra.Command {
	var f imageFlags
	size := int64(-1)
	var probed bool
	cmd := &cobra.Command{
		Use:   "locate NAME|DIGEST",
		Short: "Show every place each blob of an image can be had",
		Long: `Locate shows, for every blob of the image or for the one with the digest, the
places it may be had, who named each, and in which order they would be asked.
Only manifests are fetched. A place is a candidate: that it is named doesn't
mean it has the blob.

With --probe each place is asked: whether it answers, has the blob in the right
size, sends parts of it, how soon and how fast. What it sends is not verified.`,
		Example: `  waybill locate registry.example/app:1 --from sftp://mirror.example/srv/app --probe
  waybill locate sha256:… --from s3://blobs --probe --json | jq '.blobs[].routes[]'`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.imageName(cmd, args[0])
			if err != nil {
				return err
			}
			req, err := a.request(cmd, n, &f)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("size") && (n.Kind != name.Digest || size < 0) {
				return usageError{cmd, fmt.Errorf("--size is the size of a DIGEST, in bytes")}
			}
			if n.Kind == name.Digest {
				req.Digest, req.Size = n.Digest, size
			}
			return a.locate(cmd.Context(), n, req, probed)
		},
	}
	f.add(cmd)
	cmd.Flags().Int64Var(&size, "size", -1, "the size of DIGEST is `N` bytes")
	cmd.Flags().BoolVar(&probed, "probe", false, "ask each place how it does")
	return cmd
}

func (a *app) locate(ctx context.Context, n name.Name, req pull.Request, probed bool) error {
	st, err := a.openStore()
	if err != nil {
		return err
	}
	if n.Kind == name.Digest && req.Size < 0 {
		// Where the blob is here it is known what others should say.
		if size, err := st.Stat(n.Digest); err == nil {
			req.Size = size
		}
	}
	renderer := progress.New(a.flags.progress, a.stderr, progress.Options{})
	p, err := a.puller(st)
	if err != nil {
		return err
	}
	p.Observe = func(ev pull.Event) { a.show(renderer, ev) }
	var ask func(pull.Located, transport.Route) *probeOutput
	if probed {
		ask = func(blob pull.Located, r transport.Route) *probeOutput {
			return outputOfProbe(probe.Route(ctx, p.Fetch.Transport, r, blob.Descriptor))
		}
	}
	out := spool{}
	defer out.close()
	out.text("{\n")
	if n.Kind != name.Digest {
		abs, err := n.Absolute()
		if err != nil {
			return err
		}
		out.text(`  "name": `)
		if err := out.encode(abs.String(), ""); err != nil {
			return err
		}
		out.text(",\n")
	}
	out.text(`  "blobs": [`)
	known := false
	for b, err := range locateAll(p.Look(ctx, n, req), ask) {
		known = known || len(b.Routes) > 0
		switch {
		case err != nil:
			return err
		case a.flags.json:
			if err := out.element(b); err != nil {
				return err
			}
		case len(b.Routes) > 0:
			if err := b.print(a.stdout, probed); err != nil {
				return err
			}
		}
	}
	if !known {
		return notFoundError{fmt.Sprintf("no place is known for %s", n.Familiar()), "name a source that has it with --from URI"}
	}
	if !a.flags.json {
		return nil
	}
	out.text("\n  ]\n}\n")
	return out.writeTo(a.stdout)
}

// locating bounds how many blobs are located at once, and how many places are
// probed for each.
const (
	locating = 8
	probing  = 8
)

// locateAll locates several blobs at once and yields them in order.
func locateAll(found iter.Seq2[pull.Located, error], ask func(pull.Located, transport.Route) *probeOutput) iter.Seq2[locatedBlob, error] {
	return func(yield func(locatedBlob, error) bool) {
		var waiting []chan locatedBlob
		next := func() bool {
			b := <-waiting[0]
			waiting = waiting[1:]
			return yield(b, nil)
		}
		defer func() {
			for _, w := range waiting {
				<-w
			}
		}()
		for blob, err := range found {
			if err != nil {
				for len(waiting) > 0 {
					if !next() {
						return
					}
				}
				yield(locatedBlob{}, err)
				return
			}
			w := make(chan locatedBlob, 1)
			waiting = append(waiting, w)
			go func() { w <- locateBlob(blob, ask) }()
			if len(waiting) == locating && !next() {
				return
			}
		}
		for len(waiting) > 0 {
			if !next() {
				return
			}
		}
	}
}

// locateBlob collects the routes of one blob, in the order they would be
// asked, and probes them where ask is given.
func locateBlob(blob pull.Located, ask func(pull.Located, transport.Route) *probeOutput) locatedBlob {
	d := blob.Descriptor
	b := locatedBlob{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, Routes: []locatedRoute{}}
	var routes []transport.Route
	for r, err := range blob.Routes {
		if err != nil {
			b.Problems = append(b.Problems, oneLine(err.Error()))
			continue
		}
		routes = append(routes, r)
	}
	slices.SortStableFunc(routes, func(x, y transport.Route) int { return cmp.Compare(x.Priority, y.Priority) })
	for _, r := range routes {
		b.Routes = append(b.Routes, locatedRoute{URI: transport.Redact(r.URI), Priority: r.Priority, Origin: r.Origin})
	}
	if ask == nil {
		return b
	}
	var wg sync.WaitGroup
	free := make(chan struct{}, probing)
	for i, r := range routes {
		free <- struct{}{}
		wg.Go(func() {
			b.Routes[i].Probe = ask(blob, r)
			<-free
		})
	}
	wg.Wait()
	return b
}

func outputOfProbe(r probe.Result) *probeOutput {
	out := &probeOutput{
		OK: r.Err == nil, Ranges: r.Ranges, Size: r.Size, BytesPerSecond: r.BytesPerSecond,
		LatencyMs: float64(r.Latency.Microseconds()) / 1000,
	}
	if r.Err != nil {
		out.Error = oneLine(r.Err.Error())
	}
	return out
}

// print writes the blob's table.
func (b locatedBlob) print(out io.Writer, probed bool) error {
	size := "size unknown"
	if b.Size >= 0 {
		size = progress.FormatBytes(b.Size)
	}
	fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%s  %s  %s", b.Digest, size, oneLine(b.MediaType)), " "))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  PLACE\tPRIORITY\tNAMED BY")
	if probed {
		fmt.Fprint(w, "\tSIZE\tRANGES\tLATENCY\tRATE\tHEALTH")
	}
	fmt.Fprintln(w)
	for _, r := range b.Routes {
		fmt.Fprintf(w, "  %s\t%d\t%s", oneLine(r.URI), r.Priority, oneLine(r.Origin))
		if r.Probe != nil {
			fmt.Fprintf(w, "\t%s", r.Probe.columns(r.URI))
		}
		fmt.Fprintln(w)
	}
	for _, problem := range b.Problems {
		fmt.Fprintf(w, "  %s\n", problem)
	}
	return w.Flush()
}

// columns are those of the table that a probe adds.
func (p *probeOutput) columns(uri string) string {
	size, ranges, latency, rate, health := "-", "-", "-", "-", "ok"
	if p.Size >= 0 {
		size = strconv.FormatInt(p.Size, 10)
	}
	if p.OK {
		ranges = "no"
		if p.Ranges {
			ranges = "yes"
		}
		latency = fmt.Sprintf("%.1f ms", p.LatencyMs)
	}
	if p.BytesPerSecond > 0 {
		rate = progress.FormatBytes(p.BytesPerSecond) + "/s"
	}
	if p.Error != "" {
		health = strings.TrimPrefix(p.Error, uri+": ")
	}
	return strings.Join([]string{size, ranges, latency, rate, health}, "\t")
}
