package openssh_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// asker, in the environment, makes the test program ask on its terminal.
// targetHost and targetPort are of a server to log in to.
const (
	asker      = "WAYBILL_TEST_ASK"
	targetHost = "WAYBILL_TEST_HOST"
	targetPort = "WAYBILL_TEST_PORT"
)

func TestMain(m *testing.M) {
	ctx := context.Background()
	switch os.Getenv(asker) {
	case "":
		os.Exit(m.Run())
	case "to log in":
		logIn(ctx)
		return
	case "briefly":
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
	}
	answer, err := openssh.AskOnTerminal(ctx, "Passphrase: ")
	fmt.Printf("%q %v, a terminal: %v\n", answer, err, openssh.HasTerminal())
}

// logIn logs in twice at once, and then once more.
func logIn(ctx context.Context) {
	d := openssh.New(openssh.Options{SystemConfig: os.DevNull})
	port, _ := strconv.Atoi(os.Getenv(targetPort)) // what isn't a number is no port
	try := func() {
		c, err := d.Dial(ctx, openssh.Target{Host: os.Getenv(targetHost), Port: port})
		if err == nil {
			c.Close()
			fmt.Println("logged in")
			return
		}
		fmt.Println(err)
	}
	var both sync.WaitGroup
	both.Go(try)
	both.Go(try)
	both.Wait()
	try()
}

// ask runs the test program, without a terminal or on one of its own where the
// lines are typed, each when it has asked, and returns what it printed and what
// the terminal showed.
func ask(t *testing.T, mode string, tty bool, lines ...string) (printed, shown string) {
	t.Helper()
	return run(t, []string{asker + "=" + mode}, tty, 0, lines...)
}

// run is ask with an environment, and thought before each line is typed.
func run(t *testing.T, env []string, tty bool, thought time.Duration, lines ...string) (printed, shown string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), env...)
	var out strings.Builder
	c.Stdout = &out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !tty {
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		return out.String(), ""
	}
	master, slave := pseudoTerminal(t)
	c.Stdin = slave
	c.SysProcAttr.Setctty = true
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	r := bufio.NewReader(master)
	for _, line := range lines {
		prompt, err := r.ReadString(':')
		if err != nil {
			t.Fatal(err)
		}
		shown += prompt
		time.Sleep(thought)
		if _, err := master.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	rest, _ := io.ReadAll(r) // EIO when there is nothing more
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	return out.String(), shown + string(rest)
}

// pseudoTerminal returns the two ends of a new terminal.
func pseudoTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

func TestAskOnTerminal(t *testing.T) {
	t.Run("answered, and not shown", func(t *testing.T) {
		printed, shown := ask(t, "patiently", true, "open sesame\n")
		if printed != "\"open sesame\" <nil>, a terminal: true\n" {
			t.Errorf("got %s", printed)
		}
		if !strings.HasPrefix(shown, "Passphrase:") || strings.Contains(shown, "sesame") {
			t.Errorf("the terminal shows %q", shown)
		}
	})
	t.Run("given up", func(t *testing.T) {
		if printed, _ := ask(t, "briefly", true); !strings.Contains(printed, context.DeadlineExceeded.Error()) {
			t.Errorf("got %s", printed)
		}
	})
	t.Run("no terminal", func(t *testing.T) {
		if printed, _ := ask(t, "patiently", false); !strings.Contains(printed, openssh.ErrNoTerminal.Error()+", a terminal: false") {
			t.Errorf("got %s", printed)
		}
	})
}

// A key's passphrase is typed on a terminal, once for three connections of which
// two are made at once.
func TestPassphraseOnTerminal(t *testing.T) {
	u := newUser(t)
	server := start(t, realserver.SSHDOptions{
		AuthorizedKeys: []string{u.key(t, "id_ed25519", "ed25519", "open sesame")},
		Config:         "LoginGraceTime 1\nPasswordAuthentication no\nKbdInteractiveAuthentication no",
	})
	u.write(t, "known_hosts", server.KnownHosts())
	target := at(t, server)
	env := []string{asker + "=to log in", "HOME=" + u.home, targetHost + "=" + target.Host, targetPort + "=" + strconv.Itoa(target.Port)}
	const right, wrong = "open sesame\n", "open barley\n"
	for name, test := range map[string]struct {
		tty     bool
		thought time.Duration
		typed   []string
		want    string // printed, each time
		asked   int
	}{
		"right":                         {true, 0, []string{right}, "logged in", 1},
		"longer than the server waits":  {true, 2 * time.Second, []string{right}, "logged in", 1},
		"right at last":                 {true, 0, []string{wrong, wrong, right}, "logged in", 3},
		"wrong thrice":                  {true, 0, []string{wrong, wrong, wrong}, "id_ed25519 is encrypted, and the passphrase was wrong 3 times", 3},
		"no terminal":                   {false, 0, nil, "there is no terminal to ask for the passphrase; add it to an ssh-agent: ssh-add " + u.file("id_ed25519"), 0},
		"wrong, and longer than it may": {true, 700 * time.Millisecond, []string{wrong, wrong, right}, "logged in", 3},
	} {
		t.Run(name, func(t *testing.T) {
			printed, shown := run(t, env, test.tty, test.thought, test.typed...)
			lines := strings.Split(strings.TrimSpace(printed), "\n")
			for _, line := range lines {
				if !strings.Contains(line, test.want) {
					t.Errorf("printed %q", line)
				}
			}
			if len(lines) != 3 {
				t.Errorf("printed %d lines: %s", len(lines), printed)
			}
			if n := strings.Count(shown, "Passphrase of the key "); n != test.asked {
				t.Errorf("asked %d times, want %d: %q", n, test.asked, shown)
			}
			if strings.Contains(shown, "sesame") || strings.Contains(shown, "barley") {
				t.Errorf("the terminal shows %q", shown)
			}
		})
	}
}

// A question is not asked of a terminal for a context that has ended.
func TestAskTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openssh.AskOnTerminal(ctx, "Passphrase: "); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
