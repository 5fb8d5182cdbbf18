package exec

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// greetingTimeout is how long a program may take to greet.
	greetingTimeout = 30 * time.Second
	// grace is how long a process may take to end after its standard input
	// did.
	grace = 2 * time.Second
	// stderrTimeout is how long the last words of a process that ended are
	// waited for: something it started may hold its standard error open.
	stderrTimeout = 200 * time.Millisecond
	// maxStderrLine is how much of a line of standard error is kept.
	maxStderrLine = 1 << 10
)

// process is a running program. One request at a time uses it; only kill may
// be called beside.
type process struct {
	path   string
	stdin  *os.File
	stdout *os.File
	lines  *bufio.Reader // of stdout
	// kept is set on a process that had been waiting for a request.
	kept bool
	// expiry ends the process while nobody uses it.
	expiry *time.Timer

	cmd *exec.Cmd
	// exited is closed when the process is gone; state is how it ended.
	exited chan struct{}
	state  *os.ProcessState
	stderr *stderrLog

	mu     sync.Mutex
	reaped bool
}

// startProcess starts the program at path and reads its greeting. Cancelling
// ctx ends that, not the process.
func startProcess(ctx context.Context, path string, log *slog.Logger) (*process, error) {
	p := &process{path: path, exited: make(chan struct{})}
	if err := p.start(log); err != nil {
		return nil, &startError{err}
	}
	stop := context.AfterFunc(ctx, p.kill)
	_ = p.stdout.SetReadDeadline(time.Now().Add(greetingTimeout)) // fails with the read
	line, err := p.readLine()
	if err == nil {
		if err = parseGreeting(line); err != nil {
			err = &protocolError{err}
		}
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		p.kill()
		return nil, err
	}
	_ = p.stdout.SetReadDeadline(time.Time{}) // from now on contexts say how long
	return p, nil
}

// start starts the program.
func (p *process) start(log *slog.Logger) (err error) {
	var files []*os.File
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w
	}
	childIn, stdin := pipe()
	stdout, childOut := pipe()
	stderr, childErr := pipe()
	if err == nil {
		p.cmd = exec.Command(p.path)
		p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", versionVariable, version))
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = childIn, childOut, childErr
		// A group of its own: it is killed with all it started, and Ctrl-C is
		// for us to pass on.
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err = p.cmd.Start()
	}
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return err
	}
	childIn.Close()
	childOut.Close()
	childErr.Close()
	p.stdin, p.stdout, p.lines = stdin, stdout, bufio.NewReaderSize(stdout, maxLine)
	p.stderr = &stderrLog{log: log.With("program", p.path, "pid", p.cmd.Process.Pid), file: stderr, done: make(chan struct{})}
	go p.stderr.run()
	go p.reap()
	return nil
}

// reap waits until the process ends, and ends what it left behind.
func (p *process) reap() {
	defer close(p.exited)
	for {
		// Not yet taking its id from it, by which its group is killed.
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // there may be nobody left
	_ = p.cmd.Wait()                                      // state says how it ended
	p.state, p.reaped = p.cmd.ProcessState, true
	p.stderr.endAfter(stderrTimeout)
}

// kill ends the process and everything it started, at once. It may be called
// more than once.
func (p *process) kill() {
	p.mu.Lock()
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may just have ended
	}
	p.mu.Unlock()
	p.stdin.Close()
	p.stdout.Close()
}

// retire asks the process to end, and sees to it that it does.
func (p *process) retire() {
	p.stdin.Close()
	go func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-p.exited:
		case <-timer.C:
		}
		p.kill()
	}()
}

// ask sends a request and returns the line that answers it. Cancelling ctx
// kills the process.
func (p *process) ask(ctx context.Context, line []byte) ([]byte, error) {
	stop := context.AfterFunc(ctx, p.kill)
	answer, err := p.exchange(line)
	if !stop() {
		return nil, ctx.Err()
	}
	return answer, err
}

func (p *process) exchange(line []byte) ([]byte, error) {
	if p.surplus() {
		return nil, &protocolError{errors.New("the program wrote more than it had announced")}
	}
	if _, err := p.stdin.Write(line); err != nil {
		return nil, p.ended(err)
	}
	return p.readLine()
}

// readLine reads a line of the program. It is valid until the next read.
func (p *process) readLine() ([]byte, error) {
	line, err := p.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, &protocolError{fmt.Errorf("a line longer than the limit of %d bytes", maxLine)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("the program %s didn't greet within %v", p.path, greetingTimeout)
	case err != nil:
		return nil, p.ended(err)
	}
	return line, nil
}

// surplus reports whether the program has written what nobody has asked for,
// or has ended.
func (p *process) surplus() bool {
	if p.lines.Buffered() > 0 {
		return true
	}
	conn, err := p.stdout.SyscallConn()
	if err != nil {
		return true
	}
	var one [1]byte
	var n int
	var errRead error
	err = conn.Read(func(fd uintptr) bool {
		n, errRead = syscall.Read(int(fd), one[:]) // doesn't wait: pipes here are non-blocking
		return true
	})
	return err != nil || n > 0 || !errors.Is(errRead, syscall.EAGAIN)
}

// ended returns what it means that the program's output ended, or its input
// can't be written to.
func (p *process) ended(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	// It closed a pipe; most likely it is about to end.
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		<-p.stderr.done
	case <-timer.C:
		return &endedError{how: "closed its output", last: p.stderr.lastLine()}
	}
	return &endedError{how: "ended (" + p.state.String() + ")", last: p.stderr.lastLine()}
}

// startError says that the program can't be run.
type startError struct{ err error }

func (e *startError) Error() string { return "start: " + e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// protocolError says that the program doesn't keep to the protocol.
type protocolError struct{ err error }

func (e *protocolError) Error() string {
	return "not as spec/transport-exec.md has it: " + e.err.Error()
}
func (e *protocolError) Unwrap() error { return e.err }

// endedError says that the program ended though something was to come.
type endedError struct{ how, last string }

func (e *endedError) Error() string {
	if e.last == "" {
		return "the program " + e.how + " without a word"
	}
	return "the program " + e.how + ": " + e.last
}

// stderrLog passes on what a program writes to its standard error.
type stderrLog struct {
	log  *slog.Logger
	file *os.File
	done chan struct{}

	mu   sync.Mutex
	last string
}

// run reads lines until the program's side is closed. Of a longer one the
// start is kept.
func (s *stderrLog) run() {
	defer close(s.done)
	defer s.file.Close()
	r := bufio.NewReaderSize(s.file, maxStderrLine)
	for {
		line, long, err := r.ReadLine()
		kept := string(line) // the next ReadLine overwrites it
		for long && err == nil {
			_, long, err = r.ReadLine()
		}
		if text := httpclient.OneLine(kept); text != "" {
			s.mu.Lock()
			s.last = text
			s.mu.Unlock()
			s.log.Debug(text)
		}
		if err != nil {
			return
		}
	}
}

// endAfter ends the reading when nothing more came for a while.
func (s *stderrLog) endAfter(d time.Duration) { _ = s.file.SetReadDeadline(time.Now().Add(d)) }

func (s *stderrLog) lastLine() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
