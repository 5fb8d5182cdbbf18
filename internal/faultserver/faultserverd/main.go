// Command faultserverd runs a fault server as a process of its own, for
// benchmarks whose client must not share one with it.
//
// It prints its URL on the first line, then "DIGEST SIZE" for every generated
// blob, and serves until SIGINT or SIGTERM; then, and at /_stats while it
// runs, it gives its account as JSON.
//
//	faultserverd -random 1GiB -rate 40MB
//	faultserverd -dir layout/blobs -lie 1MiB,64KiB
//	faultserverd -random 10MiB,7 -body stall -after 5MiB -first 2
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/internal/faultserver"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if err := run(os.Args[1:], os.Stdout, stop); err != nil {
		fmt.Fprintln(os.Stderr, "faultserverd:", err)
		os.Exit(1)
	}
}

// run serves until stop yields.
func run(args []string, out io.Writer, stop <-chan os.Signal) error {
	opts, err := parse(args)
	if err != nil {
		return err
	}
	server, err := faultserver.New(opts)
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintln(out, server.URL())
	for _, blob := range opts.Blobs {
		if _, generated := blob.Content.(faultserver.Random); generated {
			fmt.Fprintln(out, blob.Digest, blob.Size)
		}
	}
	<-stop
	server.Close()
	return json.NewEncoder(out).Encode(server.Stats())
}

// parse reads the command line.
func parse(args []string) (faultserver.Options, error) {
	var opts faultserver.Options
	var fault faultserver.Fault
	faulty := false
	flags := flag.NewFlagSet("faultserverd", flag.ExitOnError)
	flags.StringVar(&opts.Addr, "listen", "127.0.0.1:0", "TCP `address` to listen on")
	flags.Func("dir", "serve the blobs in a `directory` tree, files named ALGORITHM/ENCODED at any depth", func(dir string) error {
		blobs, err := tree(dir)
		opts.Blobs = append(opts.Blobs, blobs...)
		return err
	})
	flags.Func("random", "serve a generated blob of `SIZE[,SEED]`; may be repeated", func(value string) error {
		blob, err := generated(value)
		opts.Blobs = append(opts.Blobs, blob)
		return err
	})
	flags.Func("rate", "`bytes` per second, all connections together", bytesInto(&opts.Rate))
	flags.Func("conn-rate", "`bytes` per second on each connection", bytesInto(&opts.ConnRate))
	flags.DurationVar(&opts.Latency, "latency", 0, "`time` before the first byte of every answer")
	flags.Func("die-after", "die once so many `bytes` were sent", bytesInto(&opts.DieAfter))

	// The flags below make up one fault of the whole server.
	set := func(name, usage string, f func(string) error) {
		flags.Func(name, usage, func(value string) error { faulty = true; return f(value) })
	}
	set("first", "the fault shows at the first `n` requests only", intInto(&fault.First))
	set("status", "answer with this `status`", intInto(&fault.Status))
	set("reset", "reset the connection at `accept|request|headers|body`", choice(&fault.Reset, map[string]faultserver.Stage{
		"accept": faultserver.ResetAccept, "request": faultserver.ResetRequest,
		"headers": faultserver.ResetHeaders, "body": faultserver.ResetBody,
	}))
	set("body", "the body is `short|truncated|endless|stall`", choice(&fault.Body, map[string]faultserver.BodyFault{
		"short": faultserver.BodyShort, "truncated": faultserver.BodyTruncated,
		"endless": faultserver.BodyEndless, "stall": faultserver.BodyStall,
	}))
	set("after", "the fault of the body shows after so many `bytes`", bytesInto(&fault.After))
	set("ranges", "ranges are `ignored|other|malformed|missing|multipart|wrong-total|unsatisfiable`", choice(&fault.Ranges, map[string]faultserver.RangeFault{
		"ignored": faultserver.RangesIgnored, "other": faultserver.RangesOther,
		"malformed": faultserver.RangesMalformed, "missing": faultserver.RangesMissing,
		"multipart": faultserver.RangesMultipart, "wrong-total": faultserver.RangesWrongTotal,
		"unsatisfiable": faultserver.RangesUnsatisfiable,
	}))
	set("lie", "wrong bytes at `OFFSET[,LENGTH]`, to the end without a length", func(value string) error {
		lie, err := parseLie(value)
		fault.Lie = &lie
		return err
	})
	set("redirect", "redirect to this base `URL`; \"self\" is a loop", func(value string) error {
		fault.Redirect = &faultserver.Redirect{To: strings.TrimSuffix(value, "/")}
		if value == "self" {
			fault.Redirect.To = ""
		}
		return nil
	})
	set("answer-rate", "`bytes` per second in each answer", bytesInto(&fault.Rate))
	flags.BoolFunc("gzip", "answer with gzip content coding", func(string) error { faulty, fault.Gzip = true, true; return nil })
	flags.BoolFunc("stall-headers", "never answer", func(string) error { faulty, fault.StallHeaders = true, true; return nil })
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if len(opts.Blobs) == 0 {
		return opts, fmt.Errorf("nothing to serve; give -dir or -random")
	}
	if faulty {
		opts.Faults = []faultserver.Fault{fault}
	}
	return opts, nil
}

// tree is the blobs below dir. Their names are believed.
func tree(dir string) ([]faultserver.Blob, error) {
	var blobs []faultserver.Blob
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		d := digest.Digest(filepath.Base(filepath.Dir(path)) + ":" + entry.Name())
		if d.Validate() != nil {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		blobs = append(blobs, faultserver.Blob{Digest: d, Content: faultserver.File(path), Size: info.Size()})
		return nil
	})
	if err == nil && len(blobs) == 0 {
		err = fmt.Errorf("no file named ALGORITHM/ENCODED in it")
	}
	return blobs, err
}

// generated reads SIZE[,SEED].
func generated(value string) (faultserver.Blob, error) {
	sizeText, seedText, seeded := strings.Cut(value, ",")
	size, err := parseBytes(sizeText)
	if err != nil {
		return faultserver.Blob{}, err
	}
	seed := uint64(0)
	if seeded {
		if seed, err = strconv.ParseUint(seedText, 10, 64); err != nil {
			return faultserver.Blob{}, fmt.Errorf("seed %q is no number", seedText)
		}
	}
	return faultserver.RandomBlob(seed, size), nil
}

// parseLie reads OFFSET[,LENGTH].
func parseLie(value string) (lie faultserver.Lie, err error) {
	offset, length, bounded := strings.Cut(value, ",")
	if lie.Offset, err = parseBytes(offset); err == nil && bounded {
		lie.Length, err = parseBytes(length)
	}
	return lie, err
}

// units are the suffixes of sizes, the longer of a kind first.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
}

// parseBytes reads a number of bytes: 1000, 5MB, 64KiB.
func parseBytes(value string) (int64, error) {
	for _, unit := range units {
		number, ok := strings.CutSuffix(value, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n*unit.bytes/unit.bytes != n {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, fmt.Errorf("%q is no number of bytes, such as 1000, 5MB or 64KiB", value)
}

func bytesInto(to *int64) func(string) error {
	return func(value string) (err error) {
		*to, err = parseBytes(value)
		return err
	}
}

func intInto(to *int) func(string) error {
	return func(value string) (err error) {
		*to, err = strconv.Atoi(value)
		return err
	}
}

// choice reads one of a few words.
func choice[T any](to *T, words map[string]T) func(string) error {
	return func(value string) error {
		chosen, ok := words[value]
		if !ok {
			return fmt.Errorf("unknown")
		}
		*to = chosen
		return nil
	}
}
