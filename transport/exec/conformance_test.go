package exec_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/exec"
)

// TestConformance runs the suite against the program of the documentation, as
// it stands there.
func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		d := installDemo(t)
		faulty := write(t, t.TempDir(), "faulty", faultyProgram)
		fault := func(kind string) func(testing.TB, transporttest.Blob) transport.Route {
			return func(testing.TB, transporttest.Blob) transport.Route { return transport.Route{URI: "faulty:" + kind} }
		}
		return transporttest.Harness{
			Transport: &two{
				Transport: exec.New("demo", exec.Options{Path: d.program}),
				faulty:    exec.New("faulty", exec.Options{Path: faulty}),
			},
			Put: d.put,
			Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
				transporttest.Denied:    fault("unauthorized"),
				transporttest.Throttled: fault("throttled"),
				transporttest.Temporary: fault("temporary"),
				transporttest.Permanent: fault("permanent"),
				transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
					half := write(t, t.TempDir(), "half", string(b.Bytes()[:b.Size/2]))
					return transport.Route{URI: "faulty:short" + half}
				},
			},
			RetryAfter: 7 * time.Second,
			Stop:       d.stop,
			Start:      d.start,
			Pause:      d.pause,
			Resume:     d.resume,
			Stall:      func(testing.TB) transport.Route { return transport.Route{URI: "faulty:silence"} },
		}
	})
}

// faultyProgram fails as the URI says. It needs no JSON parser for that.
const faultyProgram = `#!/bin/sh
echo '{"protocol":"waybill-transport","version":1}'
while read -r line; do
	case $line in
	*faulty:short*)
		length=${line##*'"length":'}
		echo "{\"ok\":true,\"length\":${length%?}}"
		file=${line##*faulty:short}
		cat "${file%%\"*}"
		echo 'the disk is gone' >&2
		exit 3 ;;
	*faulty:silence*) ;;
	*)
		kind=${line##*faulty:} kind=${kind%%\"*}
		echo "{\"error\":{\"kind\":\"$kind\",\"message\":\"as told\",\"retryAfterSeconds\":7}}" ;;
	esac
done
`

// two is the transport that is tested and the one of the faulty program.
type two struct {
	*exec.Transport
	faulty *exec.Transport
}

func (b *two) Open(ctx context.Context, r transport.Route, d ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if strings.HasPrefix(r.URI, "faulty:") {
		return b.faulty.Open(ctx, r, d, offset, length)
	}
	return b.Transport.Open(ctx, r, d, offset, length)
}

func (b *two) Size(ctx context.Context, r transport.Route, d ocispec.Descriptor) (int64, error) {
	if strings.HasPrefix(r.URI, "faulty:") {
		return b.faulty.Size(ctx, r, d)
	}
	return b.Transport.Size(ctx, r, d)
}

func (b *two) Close() error { return errors.Join(b.Transport.Close(), b.faulty.Close()) }

// demo is the documentation's program, installed, and a directory it serves.
type demo struct {
	// program is a script that starts it, unless it is to be out of order.
	program, root           string
	pids, down, halted, run string
}

func installDemo(t *testing.T) *demo {
	t.Helper()
	if _, err := osexec.LookPath("python3"); err != nil {
		t.Fatalf("the example of docs/transport-exec.md needs python3: %v", err)
	}
	dir := t.TempDir()
	d := &demo{
		root: t.TempDir(), pids: filepath.Join(dir, "pids"), down: filepath.Join(dir, "down"), halted: filepath.Join(dir, "halted"),
		run: write(t, dir, "demo.py", fence(t, "../../docs/transport-exec.md", "python")),
	}
	d.program = write(t, dir, exec.Prefix+"demo", fmt.Sprintf(`#!/bin/sh
if [ -e '%s' ]; then echo 'out of order' >&2; exit 1; fi
echo $$ >>'%s'
if [ -e '%s' ]; then kill -STOP $$; fi
exec '%s'
`, d.down, d.pids, d.halted, d.run))
	return d
}

// The documentation's program is what others begin with: it keeps to what the
// specification has for the future, too.
func TestExampleOfTheFuture(t *testing.T) {
	program := osexec.Command(installDemo(t).run)
	program.Stdin = strings.NewReader(`{"op":"list","uri":"demo:///"}
{"op":"size","uri":"demo:///x","digest":"sha256:00","size":-1,"hint":["new"]}
`)
	out, err := program.Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"waybill-transport", `"kind": "permanent"`, `"kind": "not-found"`} {
		if line := strings.Split(string(out), "\n")[i]; !strings.Contains(line, want) {
			t.Errorf("line %d is %q, want %q in it", i+1, line, want)
		}
	}
}

// fence returns the first block of a language in a page.
func fence(t testing.TB, page, language string) string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(data), "\n```"+language+"\n")
	block, _, closed := strings.Cut(after, "\n```\n")
	if !ok || !closed {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return block + "\n"
}

// write makes an executable file.
func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func (d *demo) put(t testing.TB, b transporttest.Blob) transport.Route {
	t.Helper()
	file := filepath.Join(d.root, "a dir", b.Digest.Algorithm().String(), b.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	b.WriteFile(t, file)
	return transport.Route{URI: "demo://" + d.root + "/a%20dir"}
}

// signal sends s to all processes of the program that run.
func (d *demo) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	data, err := os.ReadFile(d.pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(data)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err != nil {
			t.Fatal(err)
		}
		cmdline, err := os.ReadFile("/proc/" + field + "/cmdline")
		if err != nil || !strings.Contains(string(cmdline), filepath.Dir(d.run)) {
			continue // it has ended, and maybe another has its id
		}
		_ = syscall.Kill(pid, s) // it may just have ended
	}
}

func (d *demo) stop(t testing.TB) {
	t.Helper()
	mark(t, d.down)
	d.signal(t, syscall.SIGKILL)
}

func (d *demo) start(t testing.TB) {
	t.Helper()
	unmark(t, d.down)
}

func (d *demo) pause(t testing.TB) {
	t.Helper()
	mark(t, d.halted)
	d.signal(t, syscall.SIGSTOP)
}

func (d *demo) resume(t testing.TB) {
	t.Helper()
	unmark(t, d.halted)
	d.signal(t, syscall.SIGCONT)
}

func mark(t testing.TB, file string) { write(t, filepath.Dir(file), filepath.Base(file), "") }

func unmark(t testing.TB, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}
