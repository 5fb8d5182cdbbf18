package store

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Tests of what several processes do, and of processes that die, run this test
// binary again as their children: childEnv names which of children it is.
const childEnv = "WAYBILL_STORE_TEST_CHILD"

var children = map[string]func(dir string, seed uint64) error{
	"scribble": scribble,
	"ingest":   ingestShared,
	"pull":     pullAndCheck,
	"gc":       collectForEver,
}

func TestMain(m *testing.M) {
	child := children[os.Getenv(childEnv)]
	if child == nil {
		os.Exit(m.Run())
	}
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err == nil {
		err = child(os.Args[1], seed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a child at work.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Scanner
	stderr *strings.Builder
}

// startChild starts a child on the store in dir. It is killed at the latest
// when the test ends.
func startChild(t *testing.T, mode, dir string, seed uint64) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], dir, strconv.FormatUint(seed, 10)), stderr: new(strings.Builder)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+mode)
	p.cmd.Stderr = p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends the child as a power cut would its process: it can do nothing more.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
}

// wait lets the child end by itself and fails the test if it found a fault.
func (p *process) wait(t *testing.T) {
	t.Helper()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("child: %v: %s", err, p.stderr)
	}
}

// openStore opens a store for a test.
func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	return openStoreWith(t, dir, Options{})
}

func openStoreWith(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// randomBytes returns n bytes that seed determines.
func randomBytes(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	io.ReadFull(rand.NewChaCha8(key), b)
	return b
}

// put stores content and returns its digest.
func put(t testing.TB, s *Store, content []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(content)
	if err := s.Put(d, content); err != nil {
		t.Fatal(err)
	}
	return d
}
