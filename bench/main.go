package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// bench is what all cases share.
type bench struct {
	waybill string // the program measured
	dir     string // everything is kept below it, on one file system
	quick   bool   // smaller content, fewer runs: to see that it works
	runs    int    // how often each is measured; zero is the case's own choice
	warm    int64  // bytes of memory to touch before each run
	places  string // case f's, separated by commas; empty means all
}

// benchCase is one of the tables.
type benchCase struct {
	name string
	run  func(context.Context, *bench) (table, error)
}

var cases = []benchCase{
	{"a", registryCase},
	{"b", manySourcesCase},
	{"c", faultsCase},
	{"d", bundleCase},
	{"e", memoryCase},
	{"f", transportsCase},
	{"g", unlikeCase},
	{"h", locateCase},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == plainReadCommand {
		if err := plainRead(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := &bench{}
	selected := flag.String("case", "a,b,c,d,e,f,g,h", "which tables to make, separated by commas")
	out := flag.String("out", "BENCHMARKS.md", "file whose tables are replaced; empty only prints them")
	dir := flag.String("dir", "", "directory to work in (default: a temporary one); everything is read and written there")
	flag.StringVar(&b.waybill, "waybill", "bin/waybill", "program to measure")
	flag.BoolVar(&b.quick, "quick", false, "small content and few runs: shows that it works, proves nothing")
	flag.IntVar(&b.runs, "runs", 0, "how often each program is measured (default: 5 for a and d, 3 for the others)")
	flag.StringVar(&b.places, "places", "", "with -case f: only these places, such as SSH,FTP; the table is printed then, not written")
	flag.Parse()

	var err error
	if b.waybill, err = filepath.Abs(b.waybill); err != nil {
		return err
	}
	if _, err := os.Stat(b.waybill); err != nil {
		return fmt.Errorf("%w: run make build", err)
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+":"+filepath.Join(filepath.Dir(b.waybill), "tools")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(*dir, "waybill-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	for name := range strings.SplitSeq(*selected, ",") {
		c, err := findCase(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		t, err := c.run(ctx, b)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		t.context = machine(b)
		text := t.markdown()
		fmt.Println(text)
		if *out != "" && b.places == "" { // a table with rows left out is none
			if err := replaceSection(*out, c.name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func findCase(name string) (benchCase, error) {
	for _, c := range cases {
		if c.name == name {
			return c, nil
		}
	}
	return benchCase{}, fmt.Errorf("no case %q: there are a to h", name)
}

// sub makes a new directory below the bench's.
func (b *bench) sub(pattern string) (string, error) { return os.MkdirTemp(b.dir, pattern+"-") }

// times is how often to measure: the user's choice, or the case's.
func (b *bench) times(full int) int {
	switch {
	case b.runs > 0:
		return b.runs
	case b.quick:
		return 1
	}
	return full
}

// size picks the content's size.
func (b *bench) size(full, quick int64) int64 {
	if b.quick {
		return quick
	}
	return full
}

// command makes the command of a program that is to run in dir, which is its
// home too: nothing of the caller's configuration is to change the result.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "LC_ALL=C.UTF-8"}
	return cmd
}
