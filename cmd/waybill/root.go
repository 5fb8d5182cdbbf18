package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/config"
	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/progress"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

// version is set by the linker; see the Makefile.
var version = ""

// app is one run of the program.
type app struct {
	stdout, stderr io.Writer
	flags          flags
	config         *config.Config
	reading        *transports // nil until something is read
}

// flags are those every command has.
type flags struct {
	store, config string
	json          bool
	progress      progress.Mode
	verbose       bool
	quiet         bool
	offline       bool
	seed          bool // of pull
	plainHTTP     []string
	insecure      []string
}

// anyHost is the value of --plain-http and --insecure given without one.
const anyHost = "*"

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr, flags: flags{progress: progress.Auto}}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if a.reading != nil {
		if closeErr := a.reading.Close(); err == nil {
			err = closeErr
		}
	}
	if err == nil {
		return exitDone
	}
	return a.report(ctx, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Find, fetch and verify container images from many sources at once",
		Long: `Waybill answers the question: given an image, where are its layers?

It takes a name or digest, finds the places the bytes can be had, reads each
blob from many unlike sources at once, trusts none, verifies everything, and
delivers a store or a runnable OCI bundle.`,
		Example: `  waybill demo
  waybill pull alpine:3.20
  waybill pull registry.example/app:1 --from https://mirror.example/blobs/ --from oci:/mnt/usb/app
  waybill bundle alpine:3.20 ./alpine && sudo runc run --bundle ./alpine test
  waybill explain`,
		Version: programVersion(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{cmd, fmt.Errorf("unknown command %q%s", args[0], suggestion(cmd, args[0]))}
			}
			return nil
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.configure(cmd) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd, err} })
	f := root.PersistentFlags()
	f.StringVar(&a.flags.store, "store", "", "keep images in `DIR` (default $XDG_DATA_HOME/waybill)")
	f.StringVar(&a.flags.config, "config", "", "read configuration from `FILE` only")
	f.BoolVar(&a.flags.json, "json", false, "print one JSON document on stdout")
	f.Var(&a.flags.progress, "progress", "show progress on stderr as `auto|bar|plain|json|none`")
	f.BoolVarP(&a.flags.verbose, "verbose", "v", false, "say on stderr what happens")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "say nothing but errors on stderr")
	f.BoolVar(&a.flags.offline, "offline", false, "ask nobody: use what is in the store")
	f.String("freshness", "", "let answers about names be `fresh|stale-ok|pinned`, whatever the configuration says")
	f.StringSliceVar(&a.flags.plainHTTP, "plain-http", nil, "ask registries over plain http where they don't speak TLS; only =`HOST` where one is given")
	f.StringSliceVar(&a.flags.insecure, "insecure", nil, "don't verify TLS certificates; only those of =`HOST` where one is given")
	f.Lookup("plain-http").NoOptDefVal = anyHost
	f.Lookup("insecure").NoOptDefVal = anyHost
	registerCompletions(root)
	root.AddCommand(a.pullCommand(), a.resolveCommand(), a.locateCommand(), a.fetchCommand(), a.bundleCommand(), a.explainCommand(),
		a.lsCommand(), a.rmCommand(), a.gcCommand(), a.dfCommand(), a.configCommand(), a.demoCommand(), sourcesTopic())
	return root
}

// suggestion names the commands that may have been meant.
func suggestion(cmd *cobra.Command, typed string) string {
	like := cmd.SuggestionsFor(typed)
	if len(like) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(like, " or ") + "?"
}

func registerCompletions(root *cobra.Command) {
	values := []string{"auto", "bar", "plain", "json", "none"}
	if err := root.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag doesn't exist: a mistake in this file
	}
	freshness := []string{"fresh", "stale-ok", "pinned"}
	if err := root.RegisterFlagCompletionFunc("freshness", cobra.FixedCompletions(freshness, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the same
	}
	if err := root.MarkPersistentFlagDirname("store"); err != nil {
		panic(err)
	}
}

// configure loads the configuration and lays the flags over it.
func (a *app) configure(cmd *cobra.Command) error {
	if strings.HasPrefix(cmd.Name(), "__complete") || cmd.Name() == "completion" || cmd.Parent() != nil && cmd.Parent().Name() == "completion" || cmd.Name() == "help" {
		return nil
	}
	if a.flags.verbose && a.flags.quiet {
		return usageError{cmd, errors.New("-v and -q can't both be meant")}
	}
	if err := a.load(); err != nil {
		return err
	}
	c := a.config
	if f := cmd.Flag("freshness"); f != nil && f.Changed {
		if err := c.Override("resolve.freshness", f.Value.String(), "--freshness"); err != nil {
			return usageError{cmd, err}
		}
	}
	for _, name := range []string{"platform", "progress"} {
		if f := cmd.Flag(name); f != nil && f.Changed {
			if err := c.Override(name, f.Value.String(), "--"+name); err != nil {
				return usageError{cmd, err}
			}
		}
	}
	if err := a.flags.progress.Set(c.Progress); err != nil {
		return usageError{cmd, err}
	}
	if a.flags.quiet {
		a.flags.progress = progress.None
	}
	return nil
}

// load reads the configuration files.
func (a *app) load() error {
	c, err := config.Load(config.LoadOptions{
		File:            a.flags.config,
		CredentialFiles: credentials.DefaultFiles(),
		Certs:           httpclient.DefaultCertDirs(),
		PlainHTTP:       registry.IsLoopback,
	})
	if err != nil {
		return usageError{nil, err}
	}
	a.config = c
	if a.flags.store != "" {
		return c.Override("store", a.flags.store, "--store")
	}
	return nil
}

// exactArgs is cobra.ExactArgs with an error that says what is wanted.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{cmd, fmt.Errorf("takes %d argument(s), got %d", n, len(args))}
		}
		return nil
	}
}

// maxArgs is cobra.MaximumNArgs likewise.
func maxArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError{cmd, fmt.Errorf("takes at most %d argument(s), got %d", n, len(args))}
		}
		return nil
	}
}

// printJSON prints v as the one JSON document on stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printf prints a line for people on stdout.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// warn says something on stderr that is no reason to stop.
func (a *app) warn(format string, args ...any) {
	if !a.flags.quiet {
		fmt.Fprintf(a.stderr, "waybill: warning: "+format+"\n", args...)
	}
}

// detail says something on stderr that only matters to who asked for everything.
func (a *app) detail(format string, args ...any) {
	if a.flags.verbose {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// programVersion is the version stamped in, or the module's.
func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
