package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
)

// resolveOutput is the "resolve" shape of the contract.
type resolveOutput struct {
	Name       string              `json:"name"`
	Descriptor ocispec.Descriptor  `json:"descriptor"`
	By         []resolve.Testimony `json:"by"`
}

func (a *app) resolveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resolve NAME",
		Short: "Say which image a name means, and who said so",
		Long: `Resolve asks whoever may answer for NAME which image it means: the registry and
its mirrors, a layout, or whoever publishes it (HOST/PATH#FRAGMENT,
parcel:HOST/PATH, abd:IDENTIFIER, appc:NAME). The configuration may name others,
have all of them agree, or let the last known answer do. It prints the digest;
with --json the whole descriptor, and who said so and when. Nothing is fetched
or kept.`,
		Example: `  waybill resolve alpine:3.20
  waybill resolve 'example.com/app#1.0' --json | jq .by`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.imageName(cmd, args[0])
			if err != nil {
				return err
			}
			if n, err = n.Absolute(); err != nil {
				return err
			}
			r, err := a.resolver()
			if err != nil {
				return err
			}
			resolution, err := r.Resolve(cmd.Context(), n, ocispec.Descriptor{})
			if err != nil {
				return err
			}
			by := resolution.By.All()
			for i := range by {
				by[i].URI = transport.Redact(by[i].URI)
			}
			if a.flags.json {
				return a.printJSON(resolveOutput{n.String(), resolution.Descriptor, by})
			}
			if err := a.printf("%s\n", resolution.Descriptor.Digest); err != nil || a.flags.quiet {
				return err
			}
			w := tabwriter.NewWriter(a.stderr, 0, 0, 2, ' ', 0)
			for _, who := range by {
				fmt.Fprintf(w, "said by\t%s (%s)\nat\t%s\n", oneLine(who.URI), who.Resolver, who.Time.Local().Format(time.DateTime))
			}
			return w.Flush()
		},
	}
}

// resolver answers for every kind of name: from the store alone with --offline.
func (a *app) resolver() (resolve.Resolver, error) {
	if a.flags.offline {
		st, err := a.openStore()
		return resolve.Store{Refs: st}, err
	}
	t, err := a.transports()
	if err != nil {
		return nil, err
	}
	return resolve.Retry{Resolver: a.names(t), Timeout: a.config.Fetch.FirstByte, Observe: func(err error, wait time.Duration) {
		a.warn("asking again in %v: %v", wait, err)
	}}, nil
}
