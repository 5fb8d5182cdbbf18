package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/waybill-project/waybill/locate"
)

// fromFlag adds --from, and what the shell may complete it with.
func fromFlag(cmd *cobra.Command, from *[]string, usage string) {
	cmd.Flags().StringArrayVar(from, "from", nil, usage+` (see "waybill help sources"); may be repeated`)
	err := cmd.RegisterFlagCompletionFunc("from", func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(typed, ":") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		var all []string
		for k := range locate.Kinds() {
			for _, scheme := range k.Schemes {
				if strings.HasPrefix(scheme, typed) {
					all = append(all, cobra.CompletionWithDesc(schemePrefix(k, scheme), plain(k.What)))
				}
			}
		}
		return all, cobra.ShellCompDirectiveNoSpace
	})
	if err != nil {
		panic(err) // the flag doesn't exist: a mistake in this file
	}
}

// schemePrefix is what every URI of the scheme begins with.
func schemePrefix(k locate.Kind, scheme string) string {
	if strings.Contains(k.Forms[0], "://") {
		return scheme + "://"
	}
	return scheme + ":"
}

// plain takes the Markdown out of a line.
func plain(s string) string { return strings.ReplaceAll(s, "`", "") }

// sourcesTopic is the help on what a source's URI may be.
func sourcesTopic() *cobra.Command {
	var text strings.Builder
	text.WriteString(`A source is any place that has some of an image's blobs. --from URI names one,
any number of times; those marked * may be the image's NAME too.

`)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for k := range locate.Kinds() {
		mark := ""
		if k.Name {
			mark = "*"
		}
		for i, form := range k.Forms {
			if i == 0 {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", form, mark, plain(k.What))
			} else {
				fmt.Fprintf(w, "    %s\t\t\n", form)
			}
		}
	}
	if err := w.Flush(); err != nil {
		panic(err) // a strings.Builder doesn't fail
	}
	text.WriteString("\nNone is trusted: every byte is verified against the image's digests.")
	return &cobra.Command{Use: "sources", Short: "What --from URI may be", Long: text.String()}
}
