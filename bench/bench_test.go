package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReplaceSection(t *testing.T) {
	const a, b = "<!-- bench a -->\n", "<!-- end of bench a -->\n"
	tests := []struct {
		name, before, want string
	}{
		{"new file", "", a + "new\n" + b},
		{"added", "# Title\n", "# Title\n\n" + a + "new\n" + b},
		{"replaced", "x\n" + a + "old\nlines\n" + b + "y\n", "x\n" + a + "new\n" + b + "y\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f.md")
			if test.before != "" {
				if err := os.WriteFile(file, []byte(test.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time changes nothing
				if err := replaceSection(file, "a", "new\n"); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(file)
				if err != nil || string(got) != test.want {
					t.Errorf("%q, %v, want %q", got, err, test.want)
				}
			}
		})
	}
	file := filepath.Join(t.TempDir(), "f.md")
	if err := os.WriteFile(file, []byte(a+"no end\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replaceSection(file, "a", "new\n"); err == nil {
		t.Error("a section without an end was replaced")
	}
}

func TestChooseAlone(t *testing.T) {
	for list, want := range map[string]int{"": len(alone), "SSH": 1, "ssh, FTP": 2, "SSH,telnet": -1, ",": -1} {
		chosen, err := chooseAlone(list)
		if want < 0 && err == nil || want >= 0 && (err != nil || len(chosen) != want) {
			t.Errorf("%q: %d places, %v", list, len(chosen), err)
		}
	}
}

func TestMedian(t *testing.T) {
	r := result{runs: []measurement{{wall: 5, rss: 1}, {wall: 1, rss: 9}, {wall: 3, rss: 4}}}
	if r.wall() != 3 || r.rss() != 4 {
		t.Errorf("medians %v and %d, want 3 and 4", r.wall(), r.rss())
	}
}

// TestMeasure holds what is measured of a program against what it surely did.
func TestMeasure(t *testing.T) {
	m, err := measure(exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"))
	if err != nil {
		t.Fatal(err)
	}
	if m.wall <= 0 || m.cpu <= 0 || m.cpu > 2*m.wall+time.Second || m.rss < 100<<10 {
		t.Errorf("%+v is no likely account of a busy shell", m)
	}
	_, err = measure(exec.Command("sh", "-c", "echo reason >&2; exit 3"))
	if err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("error %v, want what the program said", err)
	}
}

func TestProcess(t *testing.T) {
	cpu, err := processCPU(os.Getpid())
	if err != nil || cpu < 0 {
		t.Errorf("CPU of this process: %v, %v", cpu, err)
	}
	rss, err := processRSS(os.Getpid())
	if err != nil || rss < 1<<20 {
		t.Errorf("memory of this process: %d, %v", rss, err)
	}
}

// TestRaceTakesTurns has every contender start in an empty directory, in turn.
func TestRaceTakesTurns(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	var order []string
	c := func(name string) contender {
		return contender{name, func(_ context.Context, dir string) (measurement, error) {
			order = append(order, name)
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("%s starts with %v, %v", name, left, err)
			}
			return measurement{wall: time.Second}, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
		}}
	}
	for _, keep := range []bool{false, true} {
		order = nil
		raceTwice(t, b, keep, &order, c("A"), c("B"))
	}
}

func raceTwice(t *testing.T, b *bench, keep bool, order *[]string, contenders ...contender) {
	results, err := b.race(t.Context(), 2, keep, contenders...)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(*order, " "); got != "A B B A" {
		t.Errorf("order %s", got)
	}
	if len(results) != 2 || len(results[0].runs) != 2 || results[1].name != "B" {
		t.Errorf("results %+v", results)
	}
	if left, err := os.ReadDir(b.dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
