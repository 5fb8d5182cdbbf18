package realserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout is how long a server may take until it answers. It is only there
// to end a test whose server hangs; a machine busy with compiling is slow.
const startTimeout = 60 * time.Second

// Process is a running server.
type Process struct {
	cmd      *exec.Cmd
	exited   chan struct{}
	log      string
	stopOnce sync.Once
}

// start runs the command with its output in dir/NAME.log and waits until ready
// returns nil. When the server ends before that, or ready never succeeds, the
// error carries the end of its log.
func start(ctx context.Context, dir string, ready func() error, name string, args ...string) (*Process, error) {
	path, err := lookPath(name)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, filepath.Base(name)+".log"))
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer log.Close()

	p := &Process{cmd: exec.Command(path, args...), exited: make(chan struct{}), log: log.Name()}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// The server goes when the test program is killed, and with all its workers
	// (nginx) when it is stopped: it has a process group of its own.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // a server that was stopped always "fails"; the log says why one ended early
	}()

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return p, nil
		}
		select {
		case <-p.exited:
			return nil, fmt.Errorf("%s ended at once:\n%s", name, p.Log())
		case <-ctx.Done():
			p.Stop()
			return nil, fmt.Errorf("%s is not ready: %w\n%s", name, err, p.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server and everything it started, and waits until it is gone.
// It may be called more than once.
func (p *Process) Stop() {
	p.stopOnce.Do(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
	})
	<-p.exited
}

// PID is the server's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the last of what the server wrote, for messages.
func (p *Process) Log() string {
	const last = 4096
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-last):]))
}

// lookPath finds a server, also where an ordinary user's PATH doesn't look.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: run scripts/install-test-tools (%w)", name, errors.Unwrap(err))
}

// freeAddr returns a loopback address nothing listens on. Another process may
// take it before the server does; the server then ends at once and says so.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// dialable returns a readiness check: something accepts connections at addr.
func dialable(network, addr string) func() error {
	return func() error {
		c, err := net.DialTimeout(network, addr, time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
