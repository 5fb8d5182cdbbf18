// Command waybill finds the layers of container images wherever they are,
// fetches each from many sources at once, verifies everything, and delivers a
// store or a runnable bundle. See "waybill help".
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// net/http logs through the standard logger when a server misbehaves in
	// ways it can't return; the engine notices by itself, and says so.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
