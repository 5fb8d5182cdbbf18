package openssh

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// maxComplaint is how much of a proxy command's standard error is kept, in
// bytes.
const maxComplaint = 4 << 10

// proxyConn is a connection through a ProxyCommand.
type proxyConn struct {
	net.Conn
	command *exec.Cmd
	errors  *head
	once    sync.Once
	ended   chan struct{} // closed when it has
}

// startProxy runs the ProxyCommand of s. As OpenSSH does, the line is the
// shell's, which it executes in its own place.
func startProxy(s *settings) (*Conn, error) {
	line, err := s.shellLine(s.proxyCommand)
	if err != nil {
		return nil, s.fail(transport.ErrPermanent, "ProxyCommand: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, s.fail(transport.ErrTemporary, "ProxyCommand: %w", err)
	}
	defer theirs.Close()
	p := &proxyConn{Conn: ours, errors: &head{}, ended: make(chan struct{}), command: exec.Command("/bin/sh", "-c", "exec "+line)}
	p.command.Stdin, p.command.Stdout, p.command.Stderr = theirs, theirs, p.errors
	p.command.WaitDelay = time.Second // for what it left running
	// A process group of its own: Close ends what the command started, too.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		ours.Close()
		return nil, s.fail(transport.ErrTemporary, "ProxyCommand: %w", err)
	}
	go func() {
		_ = p.command.Wait() // how it ended shows in what was read
		close(p.ended)
	}()
	return newConn(p, nil), nil
}

// Close ends the command.
func (p *proxyConn) Close() error {
	p.once.Do(func() {
		select {
		case <-p.ended: // its number may be another's by now
		default:
			_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) // it may be ending
		}
	})
	return p.Conn.Close()
}

// socketPair returns two ends of a local connection.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "proxy"), os.NewFile(uintptr(fds[1]), "proxy")
	defer mine.Close() // FileConn has a copy
	conn, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// head keeps the beginning of what is written to it.
type head struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Write(p[:min(len(p), maxComplaint-h.buf.Len())])
	return len(p), nil
}

// String returns what was kept.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf.String()
}
