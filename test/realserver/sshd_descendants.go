package realserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// signalAll sends a signal to the server and then to every process that it
// started, and those started, also where they left its process group.
func (p *Process) signalAll(sig syscall.Signal) {
	all := append([]int{p.PID()}, descendants(p.PID())...)
	for _, pid := range all {
		_ = syscall.Kill(pid, sig) // it may be gone already
	}
}

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
