package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measurement is what one run cost.
type measurement struct {
	wall time.Duration
	cpu  time.Duration // user and system
	rss  int64         // bytes, the peak of the largest process
}

// then adds a run that came after this one, as part of the same work.
func (m measurement) then(next measurement) measurement {
	return measurement{wall: m.wall + next.wall, cpu: m.cpu + next.cpu, rss: max(m.rss, next.rss)}
}

// contender is one program, or sequence of programs, that does the work.
type contender struct {
	name string
	// once does the work from scratch, with dir as its empty directory.
	once func(ctx context.Context, dir string) (measurement, error)
}

// result is all runs of a contender.
type result struct {
	name string
	runs []measurement
}

// race measures each contender so many times, in turn, another one first in
// every round. What the runs leave is removed at once, or with keep at the end:
// for minutes after many files were removed ext4 is several times slower at
// making new ones, which would punish whoever comes next.
func (b *bench) race(ctx context.Context, times int, keep bool, contenders ...contender) ([]result, error) {
	results := make([]result, len(contenders))
	for round := range times {
		for turn := range contenders {
			n := (round + turn) % len(contenders)
			c := contenders[n]
			results[n].name = c.name
			dir, err := b.sub("run")
			if err != nil {
				return nil, err
			}
			syscall.Sync() // what the one before left unwritten is not this one's to wait for
			if err := warmMemory(b.warm); err != nil {
				return nil, err
			}
			m, err := c.once(ctx, dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if keep {
				defer os.RemoveAll(dir)
			} else if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			fmt.Fprintf(os.Stderr, "  %d/%d %-28s %7.2f s  %6.2f s CPU  %5.0f MB\n", round+1, times, c.name,
				m.wall.Seconds(), m.cpu.Seconds(), float64(m.rss)/1e6)
			results[n].runs = append(results[n].runs, m)
		}
	}
	return results, nil
}

// warmMemory has the machine give so many bytes of memory, and frees them again: a
// virtual machine gets memory from its host when it is touched for the first time,
// which takes several times longer than to use it, and falls on whoever runs then.
func warmMemory(bytes int64) error {
	if bytes == 0 {
		return nil
	}
	mem, err := syscall.Mmap(-1, 0, int(bytes), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("memory to warm up with: %w", err)
	}
	for at := 0; at < len(mem); at += os.Getpagesize() {
		mem[at] = 1
	}
	return syscall.Munmap(mem)
}

// measure runs a program to its end.
func measure(cmd *exec.Cmd) (measurement, error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return measurement{}, err
	}
	peak := watchRSS(cmd.Process.Pid)
	err := cmd.Wait()
	wall := time.Since(began)
	rss := peak()
	if err != nil {
		text := output.Bytes()
		return measurement{}, fmt.Errorf("%s: %w\n%s", cmd, err, text[max(0, len(text)-2000):])
	}
	return measurement{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rss: rss}, nil
}

// watchRSS follows the peak resident set of a process until the function it
// returns is called. The account of a finished process (ru_maxrss) won't do: on
// Linux that begins with the resident set of the program that started it, which
// is as large as a lean peer's.
func watchRSS(pid int) (peak func() int64) {
	const interval = 3 * time.Millisecond
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			if rss, err := processRSS(pid); err == nil { // else it is ending
				most = max(most, rss)
			}
			select {
			case <-stop:
				done <- most
				return
			case <-ticker.C:
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-done
	}
}

// clockTick is what the kernel counts /proc/PID/stat's times in: USER_HZ, which
// is 100 on every architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// processCPU is the processor time a running process has used so far.
func processCPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may hold anything: fields follow the last one.
	_, rest, ok := strings.Cut(string(data[bytes.LastIndexByte(data, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: unknown form", pid)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * clockTick, nil
}

// processRSS is the peak resident set of a running process so far.
func processRSS(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status: no VmHWM", pid)
}

// wall, cpu and rss are the medians.
func (r result) wall() time.Duration {
	return median(r.runs, func(m measurement) time.Duration { return m.wall })
}
func (r result) cpu() time.Duration {
	return median(r.runs, func(m measurement) time.Duration { return m.cpu })
}
func (r result) rss() int64 {
	return median(r.runs, func(m measurement) int64 { return m.rss })
}

// spread shows the wall time's least and most.
func (r result) spread() string {
	least, most := r.runs[0].wall, r.runs[0].wall
	for _, m := range r.runs {
		least, most = min(least, m.wall), max(most, m.wall)
	}
	return fmt.Sprintf("%.2f–%.2f", least.Seconds(), most.Seconds())
}

func median[T cmp.Ordered](runs []measurement, of func(measurement) T) T {
	values := make([]T, len(runs))
	for i, m := range runs {
		values[i] = of(m)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
