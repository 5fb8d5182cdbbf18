// Package daemon runs a real server for a harness of package transporttest: a
// child process that is killed, paused, and started again at the same address.
// The methods of a [Daemon] are the Stop, Start, Pause and Resume of a
// transporttest.Harness.
package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// ready is how long a server may take until it accepts connections. It is only
// there to end a test whose server hangs.
const ready = time.Minute

// Daemon is a server that runs in the foreground of a process of its own.
type Daemon struct {
	addr    string
	log     string
	command []string

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd is over
}

// Start runs a command, the program and its arguments, and returns once there
// is something that accepts connections at addr (HOST:PORT), or, where addr is
// empty, at once. It is stopped with the test t.
func Start(t testing.TB, addr string, command ...string) *Daemon {
	t.Helper()
	d := &Daemon{addr: addr, command: command, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(func() { d.Stop(t) })
	d.Start(t)
	return d
}

// Start runs the command again. It must have been stopped.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	d.awaitGone(t)
	log, err := os.OpenFile(d.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(d.command[0], d.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own, so that what it starts is stopped with it; and
	// it goes when the test program is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", d.command[0], err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // one that is killed always "fails"
	}()
	d.cmd, d.exited = cmd, exited
	d.await(t)
}

// awaitGone waits until nothing accepts connections at the address any more. A
// process that was forked off a killed one may hold the socket a moment longer.
func (d *Daemon) awaitGone(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(ready); d.addr != ""; time.Sleep(time.Millisecond) {
		c, err := net.DialTimeout("tcp", d.addr, time.Second)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(end) {
			t.Fatalf("something that isn't %s accepts connections at %s", d.command[0], d.addr)
		}
	}
}

// await waits until the server accepts connections.
func (d *Daemon) await(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(ready); d.addr != ""; time.Sleep(10 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", d.addr, time.Second)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-d.exited:
			t.Fatalf("%s ended at once:\n%s", d.command[0], d.Log())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s doesn't accept connections at %s: %v\n%s", d.command[0], d.addr, err, d.Log())
		}
	}
}

// Stop kills the server and everything it started, and waits until it is gone.
// It does nothing where it is stopped.
func (d *Daemon) Stop(t testing.TB) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	<-d.exited
	d.cmd = nil
	d.awaitGone(t)
}

// Pause stops the server and everything it started, as they are: their
// connections stay, and nothing comes of them. The kernel goes on accepting.
// None of it runs any more when Pause returns.
func (d *Daemon) Pause(t testing.TB) {
	t.Helper()
	group := d.group(t)
	if err := Halt(func() []int { return Group(group) }); err != nil {
		t.Fatalf("pausing %s: %v", d.command[0], err)
	}
}

// Resume lets a paused server go on.
func (d *Daemon) Resume(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(-d.group(t), syscall.SIGCONT); err != nil {
		t.Fatalf("resuming %s: %v", d.command[0], err)
	}
}

// group returns the ID of the server's process group.
func (d *Daemon) group(t testing.TB) int {
	t.Helper()
	if d.cmd == nil {
		t.Fatalf("%s isn't running", d.command[0])
	}
	return d.cmd.Process.Pid
}

// Log returns what the server wrote, from all its runs.
func (d *Daemon) Log() string {
	log, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(log)
}
