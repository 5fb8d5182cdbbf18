package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// table is one section of BENCHMARKS.md.
type table struct {
	title   string
	context string   // command, date, machine
	about   string   // what was measured, in a paragraph
	header  []string // of the columns
	rows    [][]string
	goals   []goal
}

// goal is what the table must show, and whether it does.
type goal struct {
	text string
	met  bool
	got  string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) goal(met bool, got, format string, args ...any) {
	t.goals = append(t.goals, goal{text: fmt.Sprintf(format, args...), met: met, got: got})
}

// markdown is the section's text.
func (t table) markdown() string {
	var s strings.Builder
	fmt.Fprintf(&s, "### %s\n\n%s\n\n%s\n\n", t.title, t.about, t.context)
	line := func(cells []string) { fmt.Fprintf(&s, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.header)
	rule := make([]string, len(t.header))
	for i := range rule {
		rule[i] = "--:"
	}
	rule[0] = "---"
	line(rule)
	for _, r := range t.rows {
		line(r)
	}
	if len(t.goals) > 0 {
		s.WriteString("\n")
	}
	for _, g := range t.goals {
		verdict := "met"
		if !g.met {
			verdict = "**missed**"
		}
		fmt.Fprintf(&s, "- %s: %s (%s)\n", g.text, verdict, g.got)
	}
	return s.String()
}

// machine says where, when and how the numbers were made.
func machine(b *bench) string {
	memory := "unknown memory"
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		memory = fmt.Sprintf("%.0f GiB of memory", float64(info.Totalram)*float64(info.Unit)/(1<<30))
	}
	command := "make bench"
	if args := strings.Join(os.Args[1:], " "); args != "" {
		command += fmt.Sprintf(" BENCH='%s'", args)
	}
	note := ""
	if b.quick {
		note = " Quick run: small content, one measurement; it shows that the benchmark works and proves nothing."
	}
	return fmt.Sprintf("`%s`, %s, %s/%s, %d cores, %s, %s.%s", command, time.Now().UTC().Format(time.DateOnly),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), memory, filesystem(b.dir), note)
}

// filesystem names the kind of file system everything was written to.
func filesystem(dir string) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return "unknown file system"
	}
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs"}
	if name, ok := names[int64(st.Type)]; ok {
		return name
	}
	return fmt.Sprintf("file system %#x", st.Type)
}

// replaceSection puts text between the markers of the section in the file,
// which is made, or gets the section at its end, where it lacks them.
func replaceSection(file, section, text string) error {
	begin, end := "<!-- bench "+section+" -->\n", "<!-- end of bench "+section+" -->\n"
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, end)
	switch {
	case ok && !closed:
		return fmt.Errorf("%s: %q has no %q", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	case !ok && before != "":
		before = strings.TrimRight(before, "\n") + "\n\n"
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}

// The forms of numbers in tables.

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%.0f", float64(n)/1e6) }

func ratio[T int64 | time.Duration](a, b T) float64 { return float64(a) / float64(b) }

func times(r float64) string { return fmt.Sprintf("%.2f", r) }

func sizeName(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.3g GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%.3g MB", float64(n)/1e6)
}
