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
	"syscall"
)

// sshdHostKeys are the kinds of host key an [SSHD] has, in sshd's order.
var sshdHostKeys = []string{"ecdsa", "ed25519"}

// SSHDOptions says whom sshd lets in and how.
type SSHDOptions struct {
	// AuthorizedKeys are lines of authorized_keys(5). They hold for every user
	// of this machine that the server can log in: with a server run as root
	// all of them ("nobody", say, to be refused files), else the present one.
	AuthorizedKeys []string
	// Config is put before everything else in sshd_config; sshd takes the
	// first value it finds for each keyword.
	Config string
	// NoSFTP leaves out the sftp subsystem.
	NoSFTP bool
}

// SSHD is a running OpenSSH server that serves files by SFTP, as the user who
// logs in may read them.
type SSHD struct {
	*Process
	// Host is its HOST:PORT.
	Host string
	// HostKeys are the public halves of its host keys, as "TYPE BASE64".
	HostKeys []string

	dir, config string
}

// StartSSHD starts an sshd with new host keys. Its configuration, keys and log
// are kept in dir.
func StartSSHD(ctx context.Context, dir string, o SSHDOptions) (*SSHD, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of sshd: %w", err)
	}
	if err := privilegeSeparation(); err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &SSHD{Host: addr, dir: dir, config: filepath.Join(dir, "sshd_config")}
	if err := s.NewHostKeys(ctx); err != nil {
		return nil, err
	}
	authorized := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(authorized, []byte(strings.Join(o.AuthorizedKeys, "\n")+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("authorized keys of sshd: %w", err)
	}
	if err := os.WriteFile(s.config, []byte(s.configuration(o, authorized)), 0o600); err != nil {
		return nil, fmt.Errorf("configuration of sshd: %w", err)
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *SSHD) configuration(o SSHDOptions, authorized string) string {
	host, port, _ := net.SplitHostPort(s.Host) // freeAddr made it
	lines := []string{
		o.Config,
		"ListenAddress " + host,
		"Port " + port,
		"PidFile none",
		"UsePAM no",
		"StrictModes no", // the tests' directories are below a world-writable one
		"PermitRootLogin yes",
		"AuthorizedKeysFile " + authorized,
		"LogLevel VERBOSE",
	}
	for _, kind := range sshdHostKeys {
		lines = append(lines, "HostKey "+s.hostKeyFile(kind))
	}
	if !o.NoSFTP {
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	return strings.Join(lines, "\n") + "\n"
}

// NewHostKeys replaces the host keys. A running server takes them at its next
// Start.
func (s *SSHD) NewHostKeys(ctx context.Context) error {
	s.HostKeys = nil
	for _, kind := range sshdHostKeys {
		file := s.hostKeyFile(kind)
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("old host key: %w", err)
		}
		public, err := SSHKeygen(ctx, "-t", kind, "-f", file, "-N", "")
		if err != nil {
			return err
		}
		fields := strings.Fields(public)
		s.HostKeys = append(s.HostKeys, fields[0]+" "+fields[1])
	}
	return nil
}

func (s *SSHD) hostKeyFile(kind string) string {
	return filepath.Join(s.dir, "host_"+kind)
}

// KnownHosts returns the lines of known_hosts(5) that vouch for the server
// under its address.
func (s *SSHD) KnownHosts() string {
	host, port, _ := net.SplitHostPort(s.Host) // freeAddr made it
	var lines strings.Builder
	for _, key := range s.HostKeys {
		fmt.Fprintf(&lines, "[%s]:%s %s\n", host, port, key)
	}
	return lines.String()
}

// Start starts a server that was stopped again, on the same address.
func (s *SSHD) Start(ctx context.Context) error {
	// sshd executes itself for each connection and wants to know where it is.
	sshd, err := lookPath("sshd")
	if err != nil {
		return err
	}
	s.Process, err = start(ctx, s.dir, dialable("tcp", s.Host), sshd, "-D", "-e", "-f", s.config)
	return err
}

// Stop ends the server and all its connections, and waits until it is gone.
func (s *SSHD) Stop() {
	// The process of a connection leaves the server's process group (it calls
	// setsid), so the group's end doesn't reach it.
	s.Process.stopDescendants()
	s.Process.Stop()
}

// Kill kills the processes of connections whose program has the given name.
func (s *SSHD) Kill(program string) {
	for _, pid := range descendants(s.PID()) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && strings.TrimSpace(string(name)) == program {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
		}
	}
}

// SSHKeygen makes a key pair with ssh-keygen's arguments args, which name the
// file after "-f", and returns the public half, one line.
func SSHKeygen(ctx context.Context, args ...string) (string, error) {
	path, err := lookPath("ssh-keygen")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, append([]string{"-q"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ssh-keygen %s: %w: %s", strings.Join(args, " "), err, out)
	}
	var file string
	for i, arg := range args[:len(args)-1] {
		if arg == "-f" {
			file = args[i+1]
		}
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		return "", fmt.Errorf("new key: %w", err)
	}
	return strings.TrimSpace(string(public)), nil
}

// privilegeSeparation makes the empty directory that sshd, run as root, locks
// the unprivileged part of itself into. Packages make it when they start the
// service, which doesn't run here.
func privilegeSeparation() error {
	const dir = "/run/sshd"
	if os.Getuid() != 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("privilege separation directory of sshd: %w", err)
	}
	return nil
}
