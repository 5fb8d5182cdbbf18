package realserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/waybill-project/waybill/conformance/transporttest/daemon"
)

// Pause stops the server and every process that it started, and those started, as
// they are: their connections stay. None of them runs any more when it returns.
func (p *Process) Pause() error { return daemon.Halt(p.family) }

// Resume lets them go on.
func (p *Process) Resume() error {
	for _, pid := range p.family()[1:] {
		_ = syscall.Kill(pid, syscall.SIGCONT) // it may be gone already
	}
	return syscall.Kill(p.PID(), syscall.SIGCONT)
}

// family is the server with all that it started, also what left its process
// group.
func (p *Process) family() []int { return append([]int{p.PID()}, descendants(p.PID())...) }

// stopDescendants kills every process that the server started. The server
// itself is left halted, so that it can't start more meanwhile.
func (p *Process) stopDescendants() {
	_ = syscall.Kill(p.PID(), syscall.SIGSTOP) // it may be gone already
	for _, pid := range descendants(p.PID()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// descendants returns the children of a process (proc(5), /proc/PID/task/TID/children)
// and theirs, oldest first.
func descendants(pid int) []int {
	all := []int{}
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", next[0]))
		if err != nil {
			continue // it ended
		}
		for _, field := range strings.Fields(string(list)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			all = append(all, child)
			next = append(next, child)
		}
	}
	return all
}
