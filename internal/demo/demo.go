// Package demo shows Waybill's main job on one machine, offline: it makes an
// image of this very program, serves it from five unlike sources of which one
// lies and one dies, pulls it from all of them at once, says who served what,
// and runs it.
package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/waybill-project/waybill/explain"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/store"
)

// Demo is what the demonstration needs from the program around it.
type Demo struct {
	// Out is where it says what it does.
	Out io.Writer
	// Puller makes a puller on a store.
	Puller func(*store.Store) (*pull.Puller, error)
	// Unpack makes a bundle in dir of what a session pulls, while it does.
	Unpack func(ctx context.Context, s *pull.Session, dir string) error
}

// Run runs the demonstration. Everything it makes is in a temporary directory
// and gone when it returns.
func (d Demo) Run(ctx context.Context) (*pull.Record, error) {
	dir, err := os.MkdirTemp("", "waybill-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	d.say("Making an image of this program …")
	img, err := makeImage()
	if err != nil {
		return nil, err
	}
	d.say("  %s: %d layers, %.1f MB", img.manifest.Digest, len(img.layers), float64(img.size())/1e6)
	cast, err := start(img)
	if err != nil {
		return nil, err
	}
	defer cast.close()
	d.say("\nServing it from five places on this machine:")
	for _, s := range cast {
		d.say("  %-46s %s", s.uri, s.role)
	}
	record, err := d.pull(ctx, cast, dir)
	if err != nil {
		return record, err
	}
	d.say("")
	if err := explain.Write(d.Out, record, false); err != nil {
		return record, err
	}
	return record, d.start(ctx, filepath.Join(dir, "bundle"))
}

func (d Demo) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

// server is one of the places the image is served from.
type server struct {
	*faultserver.Server
	uri  string // as given to --from
	role string
}

type servers []server

func (s servers) close() {
	for _, x := range s {
		x.Server.Close()
	}
}

// rate is the unit of the servers' rates, in bytes a second.
const rate = 1 << 20

// start starts the five servers: the first is the registry the image's name
// speaks of.
func start(img *demoImage) (servers, error) {
	blobs := img.blobs()
	layer := img.layers[0]
	var out servers
	for _, s := range []struct {
		opts faultserver.Options
		path string
		role string
	}{
		{faultserver.Options{Rate: 3 * rate, Tags: img.tags()}, "", "an OCI registry, 3 MB/s"},
		{faultserver.Options{Rate: 6 * rate}, "/blobs/", "a web server, 6 MB/s"},
		{faultserver.Options{Rate: 1 * rate}, "/blobs/", "a web server, 1 MB/s"},
		{faultserver.Options{Rate: 3 * rate, Faults: []faultserver.Fault{{Lie: &faultserver.Lie{Offset: layer.Size / 2}}}},
			"/{algorithm}/{encoded}", "a web server that lies from half-way on"},
		{faultserver.Options{Rate: 3 * rate, DieAfter: layer.Size / 8}, "/{algorithm}/{encoded}", "a web server that dies half-way"},
	} {
		s.opts.Blobs = blobs
		srv, err := faultserver.New(s.opts)
		if err != nil {
			out.close()
			return nil, err
		}
		uri := srv.URL() + s.path
		if s.opts.Tags != nil {
			uri = "docker://" + srv.Host() + "/" + repository
		}
		out = append(out, server{srv, uri, s.role})
	}
	return out, nil
}

// pull brings the image in from all servers and unpacks it meanwhile.
func (d Demo) pull(ctx context.Context, cast servers, dir string) (*pull.Record, error) {
	n, err := name.Parse(cast[0].Host() + "/" + repository + ":" + tag)
	if err != nil {
		return nil, err
	}
	d.say("\nPulling %s from all of them at once, unpacking as it arrives …", n)
	var req pull.Request
	for _, s := range cast[1:] {
		l, err := locate.From(s.uri, "--from")
		if err != nil {
			return nil, err
		}
		req.From = append(req.From, l)
	}
	st, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	puller, err := d.Puller(st)
	if err != nil {
		return nil, err
	}
	session, err := puller.Start(ctx, n, req)
	if err != nil {
		return nil, err
	}
	unpackErr := d.Unpack(ctx, session, filepath.Join(dir, "bundle"))
	if unpackErr != nil {
		cancel()
	}
	record, err := session.Wait()
	if unpackErr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = unpackErr
	}
	return record, err
}

// start runs the bundle with an OCI runtime where there is one.
func (d Demo) start(ctx context.Context, bundle string) error {
	runtime, err := exec.LookPath("runc")
	if err != nil {
		d.say("\nThe bundle is complete. runc is not installed, so it is not run here: apt-get install runc")
		return nil
	}
	d.say("\nRunning it: runc run --bundle … waybill-demo")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, runtime, "--root", filepath.Join(filepath.Dir(bundle), "runc"), "run", "--bundle", bundle, fmt.Sprintf("waybill-demo-%d", os.Getpid()))
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	text := strings.TrimSpace(out.String())
	if err != nil {
		d.say("  runc can't run containers on this machine (%v): %s", err, text)
		return nil
	}
	d.say("  %s", strings.ReplaceAll(text, "\n", "\n  "))
	d.say("\nThat came out of a container made of bytes from sources of which none was trusted.")
	return nil
}
