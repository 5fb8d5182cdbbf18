//go:build unix

package credentials

import (
	"os/exec"
	"syscall"
)

// inOwnGroup makes cmd lead a process group, all of which is killed when its
// context ends: helpers are often scripts, and killing a shell alone leaves
// what it started behind.
func inOwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
