package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/store"
)

// refOutput is one entry of the "ls" shape of the contract.
type refOutput struct {
	Name       string        `json:"name"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	Size       int64         `json:"size"`
	ResolvedBy string        `json:"resolvedBy"`
	Time       time.Time     `json:"time"`
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the images in the store",
		Example: "  waybill ls\n  waybill ls --json | jq -r '.[].name'",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.openStore()
			if err != nil {
				return err
			}
			out := []refOutput{}
			var bad []error
			for r, err := range st.Refs() {
				if err != nil {
					bad = append(bad, err)
					continue
				}
				d := r.Descriptor
				out = append(out, refOutput{r.Name, d.Digest, d.MediaType, d.Size, r.ResolvedBy, r.Time})
			}
			if a.flags.json {
				return errors.Join(append(bad, a.printJSON(out))...)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tDIGEST\tRESOLVED BY\tTIME")
			for _, r := range out {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", oneLine(r.Name), r.Digest, oneLine(r.ResolvedBy), r.Time.Local().Format(time.DateTime))
			}
			return errors.Join(append(bad, w.Flush())...)
		},
	}
}

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME",
		Short: "Forget an image; gc then frees its space",
		Example: `  waybill rm alpine:3.20
  waybill gc`,
		Args:              exactArgs(1),
		ValidArgsFunction: a.completeRefs,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.storedName(cmd, args[0])
			if err != nil {
				return err
			}
			if n, err = n.Absolute(); err != nil {
				return err
			}
			st, err := a.openStore()
			if err != nil {
				return err
			}
			err = st.RemoveRef(n.String())
			if errors.Is(err, store.ErrNotFound) {
				return notFoundError{fmt.Sprintf("%s is not in the store", n.Familiar()), `"waybill ls" lists what is`}
			}
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string]string{"removed": n.String()})
			}
			return nil
		},
	}
}

// completeRefs completes the names of images in the store.
func (a *app) completeRefs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 || a.load() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	st, err := a.openStore()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for r, err := range st.Refs() {
		if err == nil {
			names = append(names, r.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// gcOutput is what gc prints with --json.
type gcOutput struct {
	Blobs       int   `json:"blobs"`
	Bytes       int64 `json:"bytes"`
	Ingests     int   `json:"ingests"`
	IngestBytes int64 `json:"ingestBytes"`
	DryRun      bool  `json:"dryRun"`
}

func (a *app) gcCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove blobs no image in the store needs",
		Long: `Gc removes the blobs that no image in the store and no running pull needs, and
partials that are old or over the quota.`,
		Example: "  waybill gc --dry-run\n  waybill gc",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.openStore()
			if err != nil {
				return err
			}
			r, err := st.GC(cmd.Context(), store.GCOptions{DryRun: dryRun, Children: image.Children})
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(gcOutput{r.Blobs, r.Bytes, r.Ingests, r.IngestBytes, dryRun})
			}
			verb := "removed"
			if dryRun {
				verb = "would remove"
			}
			return a.printf("%s %d blobs (%s) and %d partials (%s)\n", verb, r.Blobs, size(r.Bytes), r.Ingests, size(r.IngestBytes))
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would go")
	return cmd
}

// usageOutput is the "df" shape of the contract.
type usageOutput struct {
	Blobs       int   `json:"blobs"`
	Bytes       int64 `json:"bytes"`
	Ingests     int   `json:"ingests"`
	IngestBytes int64 `json:"ingestBytes"`
}

func (a *app) dfCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "df",
		Short:   "Say how much space the store takes",
		Example: "  waybill df",
		Args:    exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := a.openStore()
			if err != nil {
				return err
			}
			u, err := st.DF()
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(usageOutput{u.Blobs, u.Bytes, u.Ingests, u.IngestBytes})
			}
			return a.printf("%d blobs, %s\n%d partials, %s\n", u.Blobs, size(u.Bytes), u.Ingests, size(u.IngestBytes))
		},
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for f >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", f, units[i])
}
