package exec_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/exec"
)

// hello is the blob that the scripts of these tests serve.
var hello = ocispec.Descriptor{Digest: digest.FromString("hello"), Size: 5}

// script returns a transport whose program is a shell script. It is run after
// the greeting.
func script(t *testing.T, o exec.Options, lines string) *exec.Transport {
	t.Helper()
	o.Path = write(t, t.TempDir(), exec.Prefix+"x", "#!/bin/sh\necho '{\"protocol\":\"waybill-transport\",\"version\":1}'\n"+lines)
	tr := exec.New("x", o)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// serveHello answers every request with the blob.
const serveHello = `while read -r request; do echo '{"ok":true,"length":5}'; printf hello; done` + "\n"

// readHello reads the blob and fails the test where that isn't all.
func readHello(t *testing.T, tr *exec.Transport) {
	t.Helper()
	body, err := tr.Open(t.Context(), transport.Route{URI: "x:y"}, hello, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != "hello" {
		t.Fatalf("read %q, %v", got, err)
	}
}

func TestFind(t *testing.T) {
	absolute, work := t.TempDir(), t.TempDir()
	t.Chdir(work)
	write(t, work, exec.Prefix+"here", "#!/bin/sh\n")
	if err := os.Mkdir("sub", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "sub", exec.Prefix+"sub", "#!/bin/sh\n")
	write(t, work, exec.Prefix+"both", "#!/bin/sh\n")
	for _, scheme := range []string{"both", "there", "a+b.c-d", "plain"} {
		write(t, absolute, exec.Prefix+scheme, "#!/bin/sh\n")
	}
	if err := os.Chmod(filepath.Join(absolute, exec.Prefix+"plain"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", strings.Join([]string{"", ".", "sub", absolute}, ":"))
	for _, tt := range []struct {
		name, scheme string
		found        bool
	}{
		{"in an absolute directory", "there", true},
		{"with all a scheme may hold", "a+b.c-d", true},
		{"in the working directory too", "both", true},
		{"in the working directory", "here", false},
		{"in a relative directory", "sub", false},
		{"not executable", "plain", false},
		{"nowhere", "nowhere", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, err := exec.Find(tt.scheme)
			if want := filepath.Join(absolute, exec.Prefix+tt.scheme); tt.found && (err != nil || path != want) {
				t.Errorf("got %q, %v; want %q", path, err, want)
			}
			if !tt.found && !errors.Is(err, osexec.ErrNotFound) {
				t.Errorf("got %q, %v; want exec.ErrNotFound", path, err)
			}
		})
	}
	for _, scheme := range []string{"", "1x", "X", "../x", "a/b", "a b", "a\n", strings.Repeat("a", 65)} {
		if path, err := exec.Find(scheme); err == nil || !strings.Contains(err.Error(), "no scheme") {
			t.Errorf("Find(%q) = %q, %v", scheme, path, err)
		}
	}
}

func TestCheck(t *testing.T) {
	tr := exec.New("x", exec.Options{})
	for uri, want := range map[string]string{
		"x:y":                            "",
		"x://user:secret@host/a?b=c#d":   "",
		"x":                              "not a URI of scheme",
		"y:x":                            "not a URI of scheme",
		"x://u:secret@h/%zz":             "RFC 3986",
		"x:a\nb":                         "RFC 3986",
		"x:" + strings.Repeat("a", 4095): "limit of 4096 bytes",
	} {
		err := tr.Check(uri)
		if want == "" && err != nil || want != "" && (!errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check(%.40q) = %v, want %q", uri, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %v", err)
		}
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	tr := exec.New("x", exec.Options{})
	_, err := tr.Open(t.Context(), transport.Route{URI: "x:y"}, hello, 0, 5)
	if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "waybill-transport-x") {
		t.Errorf("got %v", err)
	}
}

func TestOneProcessServesMany(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	tr := script(t, exec.Options{}, "echo >>'"+starts+"'\n"+serveHello)
	for range 5 {
		readHello(t, tr)
	}
	if data, err := os.ReadFile(starts); err != nil || len(data) != 1 {
		t.Errorf("%d processes for five requests, %v", len(data), err)
	}
}

// What comes too late to be seen with the body is seen before the next
// request, which another process gets.
func TestSurplusBetweenRequests(t *testing.T) {
	dir := t.TempDir()
	late := filepath.Join(dir, "late")
	tr := script(t, exec.Options{}, `if [ -e '`+late+`' ]; then `+strings.TrimSpace(serveHello)+`; exit; fi
read -r request; echo '{"ok":true,"length":5}'; printf hello
while ! [ -e '`+dir+`/go' ]; do sleep 0.01; done
echo '{"ok":true,"length":5}'; echo wrong; : >'`+late+`'
`+serveHello)
	readHello(t, tr)
	write(t, dir, "go", "")
	for _, err := os.Stat(late); err != nil; _, err = os.Stat(late) {
		time.Sleep(time.Millisecond)
	}
	readHello(t, tr)
}

func TestProcessThatCrashesBetweenRequestsIsReplaced(t *testing.T) {
	tr := script(t, exec.Options{}, `read -r request; echo '{"ok":true,"length":5}'; printf hello; read -r request; exit 1`+"\n")
	readHello(t, tr)
	readHello(t, tr) // the first process ends only when it is asked
}

func TestLastWordsOfAProgram(t *testing.T) {
	var log bytes.Buffer
	tr := script(t, exec.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))},
		`read -r request; echo one >&2; echo 'the disk of hunter2 is gone' >&2; exit 3`+"\n")
	_, err := tr.Open(t.Context(), transport.Route{URI: "x://me:hunter2@h/y"}, hello, 0, 5)
	if !errors.Is(err, transport.ErrTemporary) {
		t.Fatalf("got %v", err)
	}
	if want := "x://me:xxxxx@h/y: the program ended (exit status 3): the disk of … is gone"; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !strings.Contains(log.String(), "msg=one") {
		t.Errorf("the log doesn't have what the program said: %s", log.String())
	}
}

func TestPasswordInAMessage(t *testing.T) {
	tr := script(t, exec.Options{}, `read -r request; printf '%s\n' '{"error":{"kind":"unauthorized","message":"p@ss and p%40ss\nare wrong"}}'`+"\n")
	_, err := tr.Open(t.Context(), transport.Route{URI: "x://me:p%40ss@h/y"}, hello, 0, 5)
	if want := "x://me:xxxxx@h/y: … and … are wrong"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("WAYBILL_TEST_INHERITED", "yes")
	tr := script(t, exec.Options{}, `read -r request; echo "{\"error\":{\"kind\":\"permanent\",\"message\":\"$# $WAYBILL_TRANSPORT_VERSIONS $WAYBILL_TEST_INHERITED\"}}"`+"\n")
	_, err := tr.Open(t.Context(), transport.Route{URI: "x:y"}, hello, 0, 5)
	if err == nil || err.Error() != "x:y: 0 1 yes" {
		t.Errorf("got %v", err)
	}
}

// What a program has started goes with it.
func TestKilledWithItsChildren(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(cancel context.CancelFunc, body io.Closer)
	}{
		{"closed", func(_ context.CancelFunc, body io.Closer) { body.Close() }},
		{"cancelled", func(cancel context.CancelFunc, _ io.Closer) { cancel() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			tr := script(t, exec.Options{}, `sleep 1000 & echo $$ $! >'`+pids+`'; read -r request; echo '{"ok":true,"length":5}'; printf he; wait`+"\n")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			body, err := tr.Open(ctx, transport.Route{URI: "x:y"}, hello, 0, 5)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			tt.end(cancel, body)
			waitGone(t, pids)
		})
	}
}

// waitGone waits until no process named in a file runs.
func waitGone(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil || len(strings.Fields(string(data))) == 0 {
		t.Fatalf("no processes in %q, %v", data, err)
	}
	for _, field := range strings.Fields(string(data)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err != nil {
			t.Fatal(err)
		}
		for running(pid) {
			if t.Context().Err() != nil {
				t.Fatalf("process %d still runs", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// running reports whether a process runs: one that nobody has waited for yet
// doesn't.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestIdleProcessesEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		idle time.Duration
		last string
	}{
		{"after a while", time.Millisecond, ""},
		{"after a while, though they don't mind the end of their input", time.Millisecond, "sleep 1000\n"},
		{"with the transport", time.Hour, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			tr := script(t, exec.Options{Idle: tt.idle}, "echo $$ >'"+pids+"'\n"+serveHello+tt.last)
			readHello(t, tr)
			if tt.idle == time.Hour {
				tr.Close()
			}
			waitGone(t, pids)
		})
	}
}

func TestProcessesAreLimited(t *testing.T) {
	tr := script(t, exec.Options{Processes: 1}, serveHello)
	body, err := tr.Open(t.Context(), transport.Route{URI: "x:y"}, hello, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := tr.Open(ctx, transport.Route{URI: "x:y"}, hello, 0, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("a second process: %v", err)
	}
	body.Close()
	readHello(t, tr)
}

// A daemon that a program leaves behind must not keep its pipes open for us.
func TestDaemonThatHoldsStderr(t *testing.T) {
	if _, err := osexec.LookPath("setsid"); err != nil {
		t.Fatalf("install util-linux: %v", err)
	}
	pids := filepath.Join(t.TempDir(), "pids")
	tr := script(t, exec.Options{}, `setsid sh -c 'echo $$ >"`+pids+`"; exec sleep 1000 >/dev/null' &
while ! [ -s '`+pids+`' ]; do sleep 0.01; done
read -r request; exit 1
`)
	_, err := tr.Open(t.Context(), transport.Route{URI: "x:y"}, hello, 0, 5)
	if !errors.Is(err, transport.ErrTemporary) {
		t.Errorf("got %v", err)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(data), &pid); err != nil || !running(pid) {
		t.Fatalf("the daemon %q doesn't run: %v", data, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
