package main

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/config"
	"github.com/waybill-project/waybill/discovery"
	ocidiscovery "github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/transport/ipfs"
)

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the configuration in force and where each value comes from",
		Example: `  waybill config
  waybill config --json | jq '.[] | select(.from != "default")'`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := a.inForce()
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(out)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tVALUE\tFROM")
			for _, v := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\n", v.Key, oneLine(v.Value), v.From)
			}
			return w.Flush()
		},
	}
}

// inForce is our configuration, and what the files of other tools and the
// environment say beside it.
func (a *app) inForce() ([]config.Value, error) {
	all := slices.Collect(a.config.Values())
	for _, flag := range []struct {
		name  string
		hosts []string
	}{{"plain-http", a.flags.plainHTTP}, {"insecure", a.flags.insecure}} {
		for _, host := range flag.hosts {
			all = append(all, config.Value{Key: fmt.Sprintf("host.%q.%s", host, flag.name), Value: "true", From: "--" + flag.name})
		}
	}
	switch gateway, from, err := ipfs.LocalGateway(); {
	case err != nil:
		a.warn("%v", err)
	case gateway != "":
		all = append(all, config.Value{Key: "ipfs.local-gateway", Value: gateway, From: from})
	}
	local := ocidiscovery.New(ocidiscovery.Options{Note: func(n discovery.Note) {
		if n.Ignored {
			a.warn("%s: %s", n.Where, n.Text)
		}
	}})
	for _, e := range local.Local() {
		key := fmt.Sprintf("xdg.%q.", e.Expression)
		if len(e.Ref) > 0 {
			all = append(all, config.Value{Key: key + "ref-engines", Value: strings.Join(e.Ref, " "), From: e.File})
		}
		if len(e.CAS) > 0 {
			all = append(all, config.Value{Key: key + "cas-engines", Value: strings.Join(e.CAS, " "), From: e.File})
		}
	}
	t, err := a.transports()
	if err != nil {
		return nil, err
	}
	for v := range t.mirrors.Values() {
		all = append(all, config.Value{Key: string(v.Kind) + "." + v.Key, Value: v.Value, From: v.From})
	}
	return all, nil
}
