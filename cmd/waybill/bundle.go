package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/pull"
)

func (a *app) bundleCommand() *cobra.Command {
	var f imageFlags
	cmd := &cobra.Command{
		Use:   "bundle NAME DIR",
		Short: "Make an OCI runtime bundle of an image; print the image's digest",
		Long: `Bundle pulls an image and unpacks it, while it arrives, into an OCI runtime
bundle: DIR/config.json and DIR/rootfs. DIR must not exist or be empty; it
appears only when every layer was confirmed.

An IPFS directory that is itself such a bundle is fetched as one.`,
		Example: `  waybill bundle alpine:3.20 ./alpine && sudo runc run --bundle ./alpine test
  waybill bundle oci:/mnt/usb/app:1 /var/lib/app --platform linux/arm64
  waybill bundle ipfs://bafy… ./app`,
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.imageName(cmd, args[0])
			if err != nil {
				return err
			}
			req, err := a.request(cmd, n, &f)
			if err != nil {
				return err
			}
			if req.Platform.All() {
				return usageError{cmd, fmt.Errorf("a bundle is of one platform; choose one with --platform")}
			}
			if args[1] == "" {
				return usageError{cmd, fmt.Errorf("the bundle's directory is empty")}
			}
			if err := bundle.CheckTarget(args[1]); err != nil {
				return err
			}
			if done, err := a.bundleTree(cmd.Context(), n, args[1]); done || err != nil {
				return err
			}
			record, err := a.pull(cmd.Context(), n, req, func(ctx context.Context, s *pull.Session) error {
				return a.unpack(ctx, s, args[1])
			})
			if err != nil {
				return err
			}
			if a.flags.json {
				out := outputOf(record)
				out.Bundle = args[1]
				return a.printJSON(out)
			}
			return a.printPull(record)
		},
	}
	f.add(cmd)
	return cmd
}

// unpack makes the bundle of what a session pulls, while it does.
func (a *app) unpack(ctx context.Context, s *pull.Session, dir string) error {
	manifest, err := s.Manifest(ctx)
	if err != nil {
		return err
	}
	if !image.IsConfig(manifest.Config.MediaType) {
		return fmt.Errorf("not an image of a filesystem: its config is %s", manifest.Config.MediaType)
	}
	config, err := readConfig(ctx, s, manifest.Config.Digest)
	if err != nil {
		return err
	}
	img := bundle.Image{Config: config}
	for _, l := range manifest.Layers {
		img.Layers = append(img.Layers, bundle.Layer{Descriptor: l, Open: func(ctx context.Context) (io.ReadCloser, error) {
			r, err := s.Open(ctx, l.Digest)
			if err != nil {
				return nil, err
			}
			return rewindable{r}, nil
		}})
	}
	return bundle.Create(ctx, dir, img, bundle.Options{
		MaxBytes: a.config.Bundle.MaxSize,
		Warn:     func(message string) { s.Note(pull.EventWarning, "", message) },
	})
}

// readConfig returns the image's configuration, once it was verified.
func readConfig(ctx context.Context, s *pull.Session, d digest.Digest) ([]byte, error) {
	r, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, bundle.MaxConfigSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > bundle.MaxConfigSize {
		return nil, fmt.Errorf("image configuration %s: more than the limit of %d bytes", d, bundle.MaxConfigSize)
	}
	return content, nil
}

// rewindable tells package bundle in its own words when bytes were replaced.
type rewindable struct{ io.ReadCloser }

func (r rewindable) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if errors.Is(err, fetch.ErrRewound) {
		err = fmt.Errorf("%w: %w", bundle.ErrRewound, err)
	}
	return n, err
}
