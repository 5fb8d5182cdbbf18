package main

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/internal/demo"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show the whole thing on this machine, offline, in seconds",
		Long: `Demo makes an image of this program, serves it from an embedded registry and
four web servers of which one lies and one dies half-way, pulls it from all of
them at once, tells who served what, and runs it with runc where that is
installed. It leaves nothing behind.`,
		Example: "  waybill demo",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := demo.Demo{Out: a.stdout, Unpack: a.unpack, Puller: a.puller}
			if a.flags.json {
				d.Out = io.Discard
			}
			record, err := d.Run(cmd.Context())
			if err == nil && a.flags.json {
				return a.printJSON(record)
			}
			return err
		},
	}
}
