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
	"syscall"
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

// inMountNamespace runs the calling test again in a child with a mount
// namespace of its own, and returns true there: it may mount what it likes. In
// the parent it returns false when the child is done.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	const inside = "WAYBILL_STORE_TEST_MOUNTS"
	if os.Getenv(inside) == t.Name() {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a mount namespace (which needs root, or user namespaces allowed): %v\n%s", err, out)
	}
	return false
}

// mountTmpfs mounts an empty filesystem of size bytes and returns where. It is
// for tests in a mount namespace.
func mountTmpfs(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
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
