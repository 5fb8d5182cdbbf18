package progress_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-project/waybill/progress"
)

// playEnv names the pipe of which this program, run again inside a terminal,
// reads what to draw.
const playEnv = "PROGRESS_TEST_PLAY"

func TestMain(m *testing.M) {
	if pipe := os.Getenv(playEnv); pipe != "" {
		if err := play(pipe); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// play draws as the lines of a pipe tell it: "at SECONDS", "event TEXT" or
// "close".
func play(pipe string) error {
	script, err := os.Open(pipe)
	if err != nil {
		return err
	}
	defer script.Close()
	clock := &clock{epoch}
	r := progress.New(progress.Auto, os.Stderr, progress.Options{Now: clock.Now})
	lines := bufio.NewScanner(script)
	for lines.Scan() {
		verb, rest, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "at":
			seconds, err := strconv.Atoi(rest)
			if err != nil {
				return err
			}
			r.Update(scene(seconds))
		case "event":
			r.Event(progress.Event{Type: "event", Message: rest})
		case "close":
			r.Close(scene(9))
		}
	}
	return lines.Err()
}

// terminal is a tmux server with one window.
type terminal struct {
	t      *testing.T
	socket string
	script *os.File
}

// newTerminal runs play in a window of that size.
func newTerminal(t *testing.T, columns, rows int) *terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is missing; install the package tmux (apt-get install tmux)")
	}
	dir := t.TempDir()
	pipe := filepath.Join(dir, "script")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A Unix socket's path may not be long, and that of a TempDir is.
	socketDir, err := os.MkdirTemp("", "tmux")
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, socket: filepath.Join(socketDir, "s")}
	command := fmt.Sprintf("printf 'before\\n'; NO_COLOR= %s=%s %s; printf 'after\\n'; exec cat", playEnv, pipe, self)
	term.tmux("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), "sh", "-c", command)
	t.Cleanup(func() {
		term.tmux("kill-server")
		os.RemoveAll(socketDir)
	})
	// Opening for writing alone would wait for ever if play never came.
	if term.script, err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", term.socket}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (term *terminal) tell(line string) {
	term.t.Helper()
	if _, err := fmt.Fprintln(term.script, line); err != nil {
		term.t.Fatal(err)
	}
}

// resize changes the window's size, and waits for tmux to tell the programs in it,
// which it does a little later.
func (term *terminal) resize(columns, rows int) {
	term.t.Helper()
	term.tmux("resize-window", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows))
	tty := strings.TrimSpace(term.tmux("display-message", "-p", "#{pane_tty}"))
	want := fmt.Sprintf("%d %d\n", rows, columns)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		size, err := exec.Command("stty", "-F", tty, "size").Output()
		if err != nil {
			term.t.Fatalf("stty -F %s size: %v", tty, err)
		}
		if string(size) == want {
			return
		}
		if time.Now().After(deadline) {
			term.t.Fatalf("the terminal's size is %q, not %q", size, want)
		}
	}
}

// expect waits for the screen to show just these lines.
func (term *terminal) expect(want string) {
	term.t.Helper()
	want = strings.TrimPrefix(want, "\n")
	var got string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var lines []string
		for line := range strings.Lines(term.tmux("capture-pane", "-p")) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		got = strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n"
		if got == want {
			return
		}
	}
	term.t.Fatalf("the screen shows:\n%s\nwant:\n%s", got, want)
}

// TestTerminal draws in a real terminal, makes it narrow and wide again, and
// sees that nothing but what should is left on it.
func TestTerminal(t *testing.T) {
	term := newTerminal(t, 80, 20)
	const wide = `  040404040404 fetching  1.2 kB
  050505050505 failed    [                           ]   0%        7 B / 1.0 MB
  +1 more blob
  docker://user:..try.example/app  10.0 MB/s FIRST000 active
  https://cas.ex..g/way/to/blobs/  30.0 MB/s SECOND00 active
  sftp://host/layout                            999 B demoted: slower than th..
  http://liar.example/                         5.0 MB quarantined: wrong byte..
  http://127.0.0.1/                               0 B refused: loopback named..
  file:///mirror                                  0 B unused
`
	wideAfter := func(first, second string) string {
		return strings.NewReplacer("FIRST000", first, "SECOND00", second).Replace(wide)
	}
	term.tell("at 3")
	term.expect(`
before
example.com/app:v1 [=>           ]  22% 220.0 MB / 1.0 GB  40.0 MB/s ETA 20s
  020202020202 fetching  [=======>                   ]  30% 120.0 MB / 400.0 MB
  030303030303 verifying [===========================] 100%     5.0 MB / 5.0 MB
` + wideAfter(" 30.0 MB", " 60.0 MB"))

	term.resize(40, 20)
	term.tell("at 4")
	const narrow = `  040404040404 fetching  1.2 kB
  050505050505 failed    [       ]   0%
  +1 more blob
  docker..ple/app  10.0 MB/s active
  https:../blobs/  30.0 MB/s active
  sftp:/../layout    999 B demoted
  http:/..xample/   5.0 MB quarantined
  http:/...0.0.1/      0 B refused
  file:///mirror       0 B unused
`
	term.expect(`
[=>        ]  26%  40.0 MB/s ETA 19s
  020202020202 fetching  [=>     ]  40%
  030303030303 verifying [=======] 100%
` + narrow)

	term.tell("event a thing happened")
	term.expect(`
event: a thing happened
[=>        ]  26%  40.0 MB/s ETA 19s
  020202020202 fetching  [=>     ]  40%
  030303030303 verifying [=======] 100%
` + narrow)

	term.resize(80, 20)
	term.tell("at 6")
	term.expect(`
event: a thing happened
example.com/app:v1 [===>         ]  34% 340.0 MB / 1.0 GB  40.0 MB/s ETA 17s
  020202020202 fetching  [===============>           ]  60% 240.0 MB / 400.0 MB
  030303030303 verifying [===========================] 100%     5.0 MB / 5.0 MB
` + wideAfter(" 60.0 MB", "120.0 MB"))

	term.tell("close")
	term.script.Close()
	term.expect(`
event: a thing happened
example.com/app:v1: 1.0 GB, fetched 360.0 MB in 9.0s (40.0 MB/s)
  90.0 MB from docker://user:xxxxx@registry.example/app
  180.0 MB from https://cas.example/a/rather/long/way/to/blobs/
  999 B from sftp://host/layout, demoted: slower than the others
  5.0 MB from http://liar.example/, quarantined: wrong bytes at 1048576 of sha25
6:0202
  0 B from http://127.0.0.1/, refused: loopback named by a remote document
after
`)
}
