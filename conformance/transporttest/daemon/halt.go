package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// haltTime is how long processes may take to halt.
const haltTime = 30 * time.Second

// Halt sends SIGSTOP to the processes that list returns, and waits until none of
// their threads runs: a signal is sent before the last of them notices. It asks
// for the list again until it is sure that nobody in it started another
// meanwhile. SIGCONT has them go on.
func Halt(list func() []int) error {
	deadline := time.Now().Add(haltTime)
	for quiet := 0; quiet < 2; time.Sleep(time.Millisecond) {
		quiet++
		for _, pid := range list() {
			if halted(pid) {
				continue
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d goes on after SIGSTOP", pid)
			}
			quiet = 0
			_ = syscall.Kill(pid, syscall.SIGSTOP) // it may have ended by itself
		}
	}
	return nil
}

// halted reports whether no thread of a process runs, or it is gone.
func halted(pid int) bool {
	// The pattern is right.
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range stats {
		fields := statFields(path)
		if len(fields) > 0 && !bytes.Contains([]byte("TtZX"), fields[0]) {
			return false
		}
	}
	return true
}

// Group returns the processes of the process group with an ID.
func Group(id int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []int
	for _, path := range stats {
		if fields := statFields(path); len(fields) > 2 && string(fields[2]) == strconv.Itoa(id) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// statFields are the fields of a stat file behind the process's name, which may
// hold anything: the state, the parent, the process group … (proc(5)). There are
// none of what is gone.
func statFields(path string) [][]byte {
	stat, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}
