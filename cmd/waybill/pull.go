package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/progress"
	"github.com/waybill-project/waybill/pull"
)

func (a *app) pullCommand() *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Bring an image into the store, verified; print its digest",
		Long: `Pull resolves NAME, fetches every blob of the image from all the places it may
be had at once, verifies each, and keeps the image in the store. NAME is a
registry reference, the URI of a layout or archive ("waybill help sources" lists
what there is), a name that somebody publishes (HOST/PATH#FRAGMENT,
parcel:HOST/PATH, abd:IDENTIFIER, appc:NAME), or a digest (then give --from).

An interrupted pull goes on where it stopped, from any source.`,
		Example: `  waybill pull alpine
  waybill pull registry.example/app@sha256:… --from https://cdn.example/{algorithm}/{encoded}
  waybill pull registry.example/app:1 --from oci:/mnt/usb/app --from file:///srv/blobs
  waybill pull registry.example/app:1 --platform all --json
  waybill pull registry.example/app:1 --offline`,
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
			if err := a.checkSeed(cmd, f.from); err != nil {
				return err
			}
			record, err := a.pull(cmd.Context(), n, req, nil)
			if err != nil {
				return err
			}
			if err := a.printPull(record); err != nil || !a.flags.seed {
				return err
			}
			return a.seed(cmd.Context(), record, f.from)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&a.flags.seed, "seed", false, "when it is there, upload it to the peers of the torrents among the sources, until interrupted")
	return cmd
}

// during is work done beside a pull: unpacking. Its context ends with the
// pull's failure.
type during func(ctx context.Context, s *pull.Session) error

// pull runs a pull with its progress, and beside it the work given.
func (a *app) pull(ctx context.Context, n name.Name, req pull.Request, beside during) (*pull.Record, error) {
	st, err := a.openStore()
	if err != nil {
		return nil, err
	}
	renderer := progress.New(a.flags.progress, a.stderr, progress.Options{})
	var session *pull.Session
	p, err := a.puller(st)
	if err != nil {
		return nil, err
	}
	started := make(chan struct{})
	a.reading.note = func(what fetch.EventType, source, text string) {
		if <-started; session != nil {
			session.Note(what, source, text)
		}
	}
	p.Observe = func(ev pull.Event) { a.show(renderer, ev) }
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	session, err = p.Start(ctx, n, req)
	close(started)
	if err != nil {
		return nil, err
	}
	shown, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); renderer.Run(shown, session.Snapshot) }()
	var besideErr error
	if beside != nil {
		if besideErr = beside(ctx, session); besideErr != nil {
			cancel(besideErr)
		}
	}
	record, err := session.Wait()
	stop()
	<-ended
	renderer.Close(session.Snapshot())
	if besideErr != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, besideErr)) {
		err = besideErr
	}
	return record, err
}

// notable are the events that are worth a line to everyone; the others are for
// -v and explain.
var notable = map[fetch.EventType]bool{
	fetch.EventResumed: true, fetch.EventGone: true, fetch.EventDemoted: true,
	fetch.EventMismatch: true, fetch.EventQuarantined: true,
	pull.EventUnanswered: true, pull.EventIgnored: true, pull.EventWarning: true,
}

func (a *app) show(r *progress.Renderer, ev pull.Event) {
	if !a.flags.verbose && !notable[ev.Type] {
		return
	}
	r.Event(progress.Event{Time: ev.Time, Type: string(ev.Type), Digest: string(ev.Digest), Source: ev.Source, Message: oneLine(ev.Detail)})
}

// pullOutput is the "pull" shape of the contract.
type pullOutput struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Pull      string        `json:"pull"`
	Blobs     []pull.Blob   `json:"blobs"`
	Bundle    string        `json:"bundle,omitempty"`
}

func outputOf(r *pull.Record) pullOutput {
	return pullOutput{Name: r.Name, Digest: r.Digest, MediaType: r.MediaType, Size: r.Size, Pull: r.Pull, Blobs: r.Blobs}
}

func (a *app) printPull(r *pull.Record) error {
	if a.flags.json {
		return a.printJSON(outputOf(r))
	}
	return a.printf("%s\n", r.Digest)
}

func (a *app) fetchCommand() *cobra.Command {
	var from, bills []string
	var out string
	size := int64(-1)
	cmd := &cobra.Command{
		Use:   "fetch DIGEST",
		Short: "Fetch one blob, verified, to a file or stdout",
		Long: `Fetch brings one blob in from all the sources given, verifies it, and writes it
to FILE or stdout. Nothing is written before the whole was verified. Without
--size the sources are asked how large it is.`,
		Example: `  waybill fetch sha256:… --from registry.example/app --from https://cdn.example/blobs/ -o layer.tar.gz
  waybill fetch sha256:… --size 31 --from file:///srv/blobs`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := parseName(cmd, args[0])
			if err != nil {
				return err
			}
			if n.Kind != name.Digest {
				return usageError{cmd, fmt.Errorf("%q is not a digest; want ALGORITHM:HEX", args[0])}
			}
			if cmd.Flags().Changed("size") && size < 0 {
				return usageError{cmd, fmt.Errorf("--size %d is negative", size)}
			}
			if a.flags.json && (out == "" || out == "-") {
				return usageError{cmd, fmt.Errorf("--json and the blob can't both go to stdout; give -o FILE")}
			}
			req, err := a.request(cmd, n, &imageFlags{from: from, waybills: bills})
			if err != nil {
				return err
			}
			req.Digest, req.Size = n.Digest, size
			record, err := a.pull(cmd.Context(), n, req, nil)
			if err != nil {
				return err
			}
			return a.deliver(cmd.Context(), record, n.Digest, out)
		},
	}
	fromFlag(cmd, &from, "ask the source `URI`")
	waybillFlag(cmd, &bills)
	cmd.Flags().Int64Var(&size, "size", -1, "the blob has `N` bytes")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write to `FILE` instead of stdout")
	return cmd
}

// deliver writes a blob of the store to where the user wants it.
func (a *app) deliver(ctx context.Context, r *pull.Record, d digest.Digest, out string) error {
	st, err := a.openStore()
	if err != nil {
		return err
	}
	blob, err := st.OpenBlob(d)
	if err != nil {
		return err
	}
	defer blob.Close()
	if out == "" || out == "-" {
		return copyOut(ctx, a.stdout, blob.File())
	}
	if err := writeFile(ctx, out, blob.File()); err != nil {
		return err
	}
	if !a.flags.json {
		return nil
	}
	return a.printJSON(fetchOutput{Digest: d, Size: blob.Size(), Pull: r.Pull, Output: out, Blob: r.Blobs[0]})
}

// fetchOutput is what fetch prints with --json: the blob as in pull's shape,
// and where it went.
type fetchOutput struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
	Pull   string        `json:"pull"`
	Output string        `json:"output"`
	pull.Blob
}
