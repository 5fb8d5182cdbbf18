package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-project/waybill/internal/faultserver"
)

// largestChunk is the most one connection may have under way when the program
// dies: DESIGN's upper bound of a chunk.
const largestChunk = 32 << 20

// inFlight bounds what the kernels of both sides hold of one connection on
// loopback: sent, and never read.
const inFlight = 1 << 20

// sources are fault servers that are honest and count.
type sources []*faultserver.Server

func startSources(t *testing.T, i *image, rates ...int64) sources {
	t.Helper()
	var all sources
	for _, rate := range rates {
		all = append(all, startFaults(t, faultserver.Options{Blobs: i.blobs(t), Rate: rate}))
	}
	return all
}

// from are the flags that name the sources.
func (s sources) from() []string {
	var args []string
	for _, server := range s {
		args = append(args, "--from", server.URL()+"/")
	}
	return args
}

// total is the sum over all sources.
func (s sources) total() (sent, asked int64, connections int) {
	for _, server := range s {
		stats := server.Stats()
		sent += stats.Bytes
		asked += stats.Asked
		connections += stats.MaxConnections
	}
	return sent, asked, connections
}

func (s sources) reset() {
	for _, server := range s {
		server.ResetStats()
	}
}

// interrupt starts waybill, sends it the signal as soon as when returns true,
// and waits until it is gone. When the program ends before that, it returns its
// exit code and false.
func (u *user) interrupt(signal syscall.Signal, when func() bool, args ...string) (o *outcome, interrupted bool) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), commandTimeout)
	defer cancel()
	cmd := u.command(ctx, u.onStore(args)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
wait:
	for {
		select {
		case <-done:
			break wait
		case <-tick.C:
			if when() {
				_ = cmd.Process.Signal(signal) // it may have ended just now
				interrupted = true
				break wait
			}
		}
	}
	<-done
	if ctx.Err() != nil {
		u.t.Fatalf("waybill %v hangs\n%s", args, &stderr)
	}
	return &outcome{t: u.t, args: args, stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}, interrupted
}

// TestKilledAt90Percent kills a large pull shortly before its end. The next one
// may ask all sources together for no more than what was missing and a chunk for
// each connection.
func TestKilledAt90Percent(t *testing.T) {
	i := randomImage(t, 300<<20)
	partial := i.withoutLayers(t)
	s := startSources(t, i, 40<<20, 40<<20)
	u := newUser(t)
	args := append([]string{"pull", partial.name()}, s.from()...)
	_, killed := u.interrupt(syscall.SIGKILL, func() bool {
		sent, _, _ := s.total()
		return sent >= i.size(t)*9/10
	}, args...)
	if !killed {
		t.Fatal("the pull ended before it could be killed")
	}
	sent, _, connections := s.total()
	missing := max(0, i.size(t)-sent)
	s.reset()
	u.run(args...).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	again, asked, _ := s.total()
	chunk := min(largestChunk, i.size(t)/10)
	most := missing + int64(connections)*chunk
	t.Logf("missing %d bytes; asked for %d and sent %d on %d connections", missing, asked, again, connections)
	if again > most {
		t.Errorf("%d bytes were sent again, %d were missing: more than a chunk for each of %d connections", again, missing, connections)
	}
	if asked > most {
		t.Errorf("%d bytes were asked for again, %d were missing: more than a chunk for each of %d connections", asked, missing, connections)
	}
}

// TestKilledAgainAndAgain kills a pull at random moments. Whatever was on disk
// is never fetched again, and in the end all is there and right.
func TestKilledAgainAndAgain(t *testing.T) {
	const kills = 12
	i := randomImage(t, 40<<20, 20<<20, 100<<10, 5<<10)
	partial := i.withoutLayers(t)
	s := startSources(t, i, 12<<20, 6<<20)
	u := newUser(t)
	args := append([]string{"pull", partial.name()}, s.from()...)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	times, connections := 0, 0
	for range kills {
		before, _, _ := s.total()
		// Anywhere from the first byte on; early moments are as good as late ones.
		after := before + random.Int64N(i.size(t)/(kills-2))
		began, delay := time.Now(), time.Duration(random.Int64N(int64(50*time.Millisecond)))
		_, killed := u.interrupt(syscall.SIGKILL, func() bool {
			sent, _, _ := s.total()
			return sent >= after && time.Since(began) > delay
		}, args...)
		if !killed {
			break
		}
		times++
		wantSound(t, u)
	}
	u.run(args...).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	sent, _, most := s.total()
	connections = max(connections, most)
	// Each kill may cost what was between a server and the disk: socket buffers.
	// Fetching again from the start would cost several images.
	allowed := i.size(t) + int64(times*connections)*inFlight
	t.Logf("killed %d times; %d bytes sent for an image of %d on %d connections", times, sent, i.size(t), connections)
	if times < 3 {
		t.Errorf("killed only %d times: the pull ended too early for this test", times)
	}
	if sent > allowed {
		t.Errorf("%d bytes were sent for an image of %d, killed %d times: what was on disk was fetched again", sent, i.size(t), times)
	}
	var df usageDoc
	u.run("df", "--json").exits(0).decode(&df)
	if *df.Ingests != 0 {
		t.Errorf("%d partial blobs are left", *df.Ingests)
	}
}

// TestInterrupt presses Ctrl-C: the pull stops with a line that says how to go
// on, keeps what it has, and goes on from there.
func TestInterrupt(t *testing.T) {
	i := randomImage(t, 40<<20)
	partial := i.withoutLayers(t)
	s := startSources(t, i, 10<<20, 10<<20)
	u := newUser(t)
	args := append([]string{"pull", partial.name()}, s.from()...)
	o, interrupted := u.interrupt(syscall.SIGINT, func() bool {
		sent, _, _ := s.total()
		return sent >= i.size(t)/2
	}, args...)
	if !interrupted {
		t.Fatalf("%s\nended before it was interrupted", o)
	}
	if o.code == 0 || o.stdout != "" {
		t.Errorf("%s\nan interrupted pull must fail and print no digest", o)
	}
	o.sane()
	sent, _, connections := s.total()
	var df usageDoc
	u.run("df", "--json").exits(0).decode(&df)
	if *df.Ingests != 1 || *df.IngestBytes == 0 {
		t.Errorf("df after Ctrl-C: %d partials of %d bytes, want what was fetched", *df.Ingests, *df.IngestBytes)
	}
	u.run(args...).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	all, _, _ := s.total()
	if most := i.size(t) + int64(connections)*inFlight; all > most {
		t.Errorf("%d bytes sent by Ctrl-C and %d in all, for an image of %d", sent, all, i.size(t))
	}
}

// TestTwoAtOnce pulls the same image with several processes on one store: each
// blob is fetched once, and all of them succeed.
func TestTwoAtOnce(t *testing.T) {
	i := randomImage(t, 12<<20, 3<<20, 2<<10)
	partial := i.withoutLayers(t)
	s := startSources(t, i, 8<<20, 8<<20)
	u := newUser(t)
	args := append([]string{"pull", partial.name()}, s.from()...)
	outcomes := make([]*outcome, 3)
	var wg sync.WaitGroup
	for n := range outcomes {
		wg.Go(func() { outcomes[n], _ = u.interrupt(0, func() bool { return false }, args...) })
	}
	wg.Wait()
	for _, o := range outcomes {
		o.sane()
		o.exits(0)
		if got := strings.TrimSpace(o.stdout); got != i.desc.Digest.String() {
			t.Errorf("%s\nwant the digest %s", o, i.desc.Digest)
		}
	}
	wantStored(t, u, i, i.digests(t)...)
	if sent, _, connections := s.total(); sent > i.size(t)+int64(connections)*inFlight {
		t.Errorf("%d bytes were sent to three processes for an image of %d", sent, i.size(t))
	}
}

// tmpfs mounts a small file system that goes with the test.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a tmpfs (this test needs root): %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v: %s", err, out)
	}
}

// TestNoSpace pulls into file systems too small for the image: it says so at
// once, before it asks for a layer, and nothing is lost.
func TestNoSpace(t *testing.T) {
	i := randomImage(t, 20<<20, 20<<20)
	partial := i.withoutLayers(t)
	s := startSources(t, i, 0)
	dir := tmpfs(t, "size=16m")
	u := newUser(t)
	u.store = filepath.Join(dir, "store")
	args := append([]string{"pull", partial.name()}, s.from()...)
	u.run(args...).exits(1).says("space")
	if sent, _, _ := s.total(); sent > 1<<20 {
		t.Errorf("%d bytes were fetched though they could not fit", sent)
	}
	remount(t, dir, "size=128m")
	u.run(args...).exits(0)
	wantStored(t, u, i, i.digests(t)...)
}

// TestDiskFills runs out of room in the middle, in a way no check beforehand
// foresees: the file system has bytes left and no inodes.
func TestDiskFills(t *testing.T) {
	var sizes []int64
	for n := range 40 {
		sizes = append(sizes, int64(100_000+n))
	}
	i := randomImage(t, sizes...)
	partial := i.withoutLayers(t)
	s := startSources(t, i, 0)
	dir := tmpfs(t, "size=64m,nr_inodes=45")
	u := newUser(t)
	u.store = filepath.Join(dir, "store")
	args := append([]string{"pull", partial.name()}, s.from()...)
	u.run(args...).exits(1).says("no space left")
	wantSound(t, u)
	kept := u.stored()
	if len(kept) == 0 {
		t.Error("nothing was stored before the disk was full: the test should leave it more inodes")
	}
	remount(t, dir, "size=64m,nr_inodes=1000")
	s.reset()
	u.run(args...).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	for _, server := range s {
		for _, r := range server.Requests() {
			for _, d := range kept {
				if r.Digest == d && r.Length > 0 {
					t.Errorf("%s was stored before and was fetched again", d)
				}
			}
		}
	}
}

// TestUnwritableStore has a store nothing can be written to.
func TestUnwritableStore(t *testing.T) {
	i := randomImage(t, 1000)
	u := newUser(t)
	u.store = u.file("store", "a file, not a directory")
	u.run("pull", i.name()).exits(1).says(u.store)
	if data, err := os.ReadFile(u.store); err != nil || string(data) != "a file, not a directory" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}
