package realserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/waybill-project/waybill/conformance/transporttest/daemon"
)

// VsftpdOptions says how vsftpd is to serve.
type VsftpdOptions struct {
	// Addr is HOST:PORT to listen at, on 127.0.0.1; empty means a free port.
	Addr string
	// CA, where set, makes it offer TLS with a certificate of that authority,
	// and require that data connections resume the session of their control
	// connection (which is vsftpd's default).
	CA *CA
	// Implicit makes TLS begin with the first byte, not with AUTH TLS.
	Implicit bool
	// Users lets the users of this machine log in (see [NewSystemUser]), to the
	// directory served. They see the rest of the machine as well.
	Users bool
	// NoAnonymous refuses anonymous logins.
	NoAnonymous bool
	// BytesPerSecond, where positive, limits each connection.
	BytesPerSecond int64
	// Config is added to the configuration as it is: lines NAME=VALUE.
	Config string
}

// Vsftpd is a running vsftpd that serves one directory.
type Vsftpd struct {
	*Process
	// Host is its HOST:PORT.
	Host string

	log, config string
}

// StartVsftpd starts a vsftpd serving the files below root; its configuration
// and logs are kept in dir. Anonymous users see those that everybody may read.
// It needs root, as vsftpd does. The directories above root, as far as they are
// in the directory for temporary files, are opened to the user "ftp".
func StartVsftpd(ctx context.Context, dir, root string, o VsftpdOptions) (*Vsftpd, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("vsftpd only serves when started by root: run this test as root, or in a container")
	}
	empty := filepath.Join(dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, fmt.Errorf("directory of vsftpd: %w", err)
	}
	if err := openPath(root); err != nil {
		return nil, err
	}
	v := &Vsftpd{Host: o.Addr, log: filepath.Join(dir, "vsftpd-protocol.log")}
	if v.Host == "" {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		v.Host = addr
	}
	config, err := vsftpdConfig(v, dir, root, empty, o)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "vsftpd.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("configuration of vsftpd: %w", err)
	}
	v.config = file
	v.Process, err = start(ctx, dir, dialable("tcp", v.Host), "vsftpd", file)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// vsftpdConfig returns the configuration, vsftpd.conf(5).
func vsftpdConfig(v *Vsftpd, dir, root, empty string, o VsftpdOptions) (string, error) {
	_, port, err := net.SplitHostPort(v.Host)
	if err != nil {
		return "", fmt.Errorf("address of vsftpd: %w", err)
	}
	yes := map[bool]string{true: "YES", false: "NO"}
	lines := []string{
		"listen=YES", "listen_address=127.0.0.1", "listen_port=" + port, "background=NO",
		"anonymous_enable=" + yes[!o.NoAnonymous], "local_enable=" + yes[o.Users],
		"anon_root=" + root, "local_root=" + root, "secure_chroot_dir=" + empty,
		"write_enable=NO", "pasv_address=127.0.0.1", "connect_from_port_20=NO",
		// What a container may not do.
		"seccomp_sandbox=NO", "isolate=NO", "isolate_network=NO",
		"vsftpd_log_file=" + v.log, "xferlog_enable=YES", "xferlog_std_format=NO", "log_ftp_protocol=YES",
		fmt.Sprintf("anon_max_rate=%d", o.BytesPerSecond), fmt.Sprintf("local_max_rate=%d", o.BytesPerSecond),
		"max_per_ip=0", "max_clients=0",
	}
	if o.CA != nil {
		cert, err := o.CA.Issue(filepath.Join(dir, "tls"))
		if err != nil {
			return "", err
		}
		lines = append(lines, "ssl_enable=YES", "allow_anon_ssl=YES", "force_local_data_ssl=NO", "force_local_logins_ssl=NO",
			"require_ssl_reuse=YES", "ssl_ciphers=HIGH", "implicit_ssl="+yes[o.Implicit],
			"rsa_cert_file="+cert.CertFile, "rsa_private_key_file="+cert.KeyFile)
	}
	return strings.Join(append(lines, o.Config), "\n") + "\n", nil
}

// Stop ends the server with all its sessions.
func (v *Vsftpd) Stop() {
	_ = v.Pause() // nothing is started that would be missed
	for _, pid := range v.sessions() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended already
	}
	v.Process.Stop()
}

// Pause halts the server and all its sessions, which keep their connections.
// When it returns none of them runs.
func (v *Vsftpd) Pause() error {
	return daemon.Halt(func() []int { return append(v.sessions(), v.PID()) })
}

// Resume lets them go on.
func (v *Vsftpd) Resume() {
	for _, pid := range append(v.sessions(), v.PID()) {
		_ = syscall.Kill(pid, syscall.SIGCONT) // what is gone needs no signal
	}
}

// sessions returns the processes of the server's sessions. Each session is
// several, in a group of their own, whose parents needn't live: they are known
// by the configuration file in their command line.
func (v *Vsftpd) sessions() []int {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil // the pattern is right
	}
	var all []int
	for _, file := range files {
		cmdline, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(cmdline), "\x00"), v.config) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid != v.PID() {
			all = append(all, pid)
		}
	}
	return all
}

// URL returns the URL of the directory served, without a slash at its end. The
// scheme says how TLS is used; user may be nil.
func (v *Vsftpd) URL(scheme string, user *url.Userinfo) string {
	return (&url.URL{Scheme: scheme, User: user, Host: v.Host}).String()
}

// Commands returns what clients sent so far, in order: "RETR /blobs/…", with
// passwords replaced.
func (v *Vsftpd) Commands() ([]string, error) {
	data, err := os.ReadFile(v.log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it is made by the first session
	}
	if err != nil {
		return nil, fmt.Errorf("log of vsftpd: %w", err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		_, command, ok := strings.Cut(line, "FTP command: Client ")
		if !ok {
			continue
		}
		if _, command, ok = strings.Cut(command, `, "`); ok {
			all = append(all, strings.TrimSuffix(strings.TrimSpace(command), `"`))
		}
	}
	return all, nil
}

// openPath lets everybody into the directories above root that are in the
// directory for temporary files: those of tests are private.
func openPath(root string) error {
	for dir := filepath.Clean(root); strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil {
			err = os.Chmod(dir, info.Mode()|0o055)
		}
		if err != nil {
			return fmt.Errorf("open a directory to vsftpd: %w", err)
		}
	}
	return nil
}
