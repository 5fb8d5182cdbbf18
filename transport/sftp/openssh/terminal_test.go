package openssh_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// asker, in the environment, makes the test program ask on its terminal.
const asker = "WAYBILL_TEST_ASK"

func TestMain(m *testing.M) {
	if os.Getenv(asker) == "" {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	if os.Getenv(asker) == "briefly" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
	}
	answer, err := openssh.AskOnTerminal(ctx, "Passphrase: ")
	fmt.Printf("%q %v\n", answer, err)
}

// ask runs the test program, without a terminal or on one of its own where line
// is typed once it has asked, and returns what it printed and what the terminal
// showed.
func ask(t *testing.T, mode string, tty bool, line string) (printed, shown string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), asker+"="+mode)
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
	shown, err = r.ReadString(':')
	if err != nil {
		t.Fatal(err)
	}
	if line != "" {
		if _, err := master.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, 1000)
	n, _ := r.Read(rest) // EIO when there is nothing
	return out.String(), shown + string(rest[:n])
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
		if printed != "\"open sesame\" <nil>\n" {
			t.Errorf("got %s", printed)
		}
		if !strings.HasPrefix(shown, "Passphrase:") || strings.Contains(shown, "sesame") {
			t.Errorf("the terminal shows %q", shown)
		}
	})
	t.Run("given up", func(t *testing.T) {
		if printed, _ := ask(t, "briefly", true, ""); !strings.Contains(printed, context.DeadlineExceeded.Error()) {
			t.Errorf("got %s", printed)
		}
	})
	t.Run("no terminal", func(t *testing.T) {
		if printed, _ := ask(t, "patiently", false, ""); !strings.Contains(printed, openssh.ErrNoTerminal.Error()) {
			t.Errorf("got %s", printed)
		}
	})
}

// A question is not asked of a terminal for a context that has ended.
func TestAskTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openssh.AskOnTerminal(ctx, "Passphrase: "); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
