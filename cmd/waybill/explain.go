package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/explain"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/store"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [PULL-ID]",
		Short: "Tell who served what in the last pull, or a given one",
		Long: `Explain tells the story of a pull, of one that failed too: what the name was
resolved to and by whom, every source with what it served and why it was
dropped, a picture of the stripes of each blob, and with -v everything that
happened in order.`,
		Example: "  waybill explain\n  waybill explain -v\n  waybill explain --json | jq .sources",
		Args:    maxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := a.openStore()
			if err != nil {
				return err
			}
			record, err := readRecord(st, args)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(record)
			}
			return explain.Write(a.stdout, record, a.flags.verbose)
		},
	}
}

// readRecord reads the record of the pull named, or of the last.
func readRecord(st *store.Store, args []string) (*pull.Record, error) {
	var content []byte
	var err error
	id := "the last pull"
	if len(args) == 1 {
		id = "pull " + args[0]
		content, err = st.Pull(args[0])
	} else {
		_, content, err = st.LastPull()
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFoundError{fmt.Sprintf("%s is not in the store", id), "its newest hundred pulls are kept; the ID stands in the output of pull --json"}
	}
	if err != nil {
		return nil, err
	}
	var r pull.Record
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, fmt.Errorf("record of %s: %w", id, err)
	}
	return &r, nil
}
