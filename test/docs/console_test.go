package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is a command of a console block and what the page says comes of it.
type step struct {
	line    int
	command string
	output  []string // nil where the page shows nothing
}

// steps reads a console block.
func (b block) steps() ([]step, error) {
	var all []step
	goesOn := false
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case goesOn:
			all[len(all)-1].command += "\n" + line
			text = line
		case isCommand:
			all = append(all, step{line: b.line + i, command: text})
		case len(all) == 0:
			return nil, fmt.Errorf("line %d: a console block begins with a command", b.line+i)
		default:
			last := &all[len(all)-1]
			last.output = append(last.output, line)
			continue
		}
		goesOn = strings.HasSuffix(text, `\`)
	}
	for i, s := range all { // empty lines between commands are layout
		for len(s.output) > 0 && s.output[len(s.output)-1] == "" {
			s.output = s.output[:len(s.output)-1]
		}
		if len(s.output) == 0 {
			s.output = nil
		}
		all[i] = s
	}
	return all, nil
}

// TestConsole runs the examples of every page.
func TestConsole(t *testing.T) {
	w := newWorld(t)
	for _, p := range pages(t) {
		t.Run(p.name, func(t *testing.T) { w.runPage(t, p) })
	}
}

// passing are the lines of progress that depend on how long something takes: how
// far it is, who gave how much where it took more than a second, and who was
// too slow on a machine that is busy.
var passing = regexp.MustCompile(`^(\S+: (resolving|fetching) \d+%, |  [\d.]+ [kMG]?B from |demoted sha256:)`)

// runPage runs a page's blocks in order, in a home of its own.
func (w *world) runPage(t *testing.T, p *page) {
	s := w.newSandbox(t, p)
	var todo []step
	for _, b := range p.fenced("console") {
		steps, err := b.steps()
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		todo = append(todo, steps...)
	}
	code := 0
	for i, step := range todo {
		told := i+1 < len(todo) && todo[i+1].command == "echo $?"
		var out []string
		out, code = s.run(t, step.command, code)
		if code != 0 && !told {
			t.Fatalf("%s:%d: %s: exit code %d, and the page doesn't say so\n%s", p.name, step.line, step.command, code, strings.Join(out, "\n"))
		}
		out = slices.DeleteFunc(out, passing.MatchString)
		if step.output != nil && !matches(step.output, out) {
			t.Errorf("%s:%d: %s\n--- the page says\n%s\n--- it is\n%s", p.name, step.line, step.command,
				strings.Join(step.output, "\n"), strings.Join(out, "\n"))
		}
	}
}

// sandbox is where a page's commands run.
type sandbox struct {
	home string
	env  []string
}

// newSandbox makes a home with what the pages take for granted: the image as a
// layout in usb/app, the certificate of selfsigned.example and the page's Go
// program.
func (w *world) newSandbox(t *testing.T, p *page) *sandbox {
	t.Helper()
	s := &sandbox{home: t.TempDir()}
	t.Cleanup(func() { // a bundle's files may be read-only
		if out, err := exec.Command("chmod", "-R", "u+rwX", s.home).CombinedOutput(); err != nil {
			t.Logf("make the sandbox removable: %v: %s", err, out)
		}
	})
	check(t, os.CopyFS(filepath.Join(s.home, "usb", "app"), os.DirFS(w.layout.Dir)))
	s.write(t, ".trusted.pem", w.trusted)
	s.write(t, "selfsigned-ca.crt", w.self)
	s.write(t, "password", annsPassword+"\n")
	// What skopeo wants to exist; Debian has the same in /etc.
	s.write(t, ".config/containers/policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	for i, b := range p.fenced("go") {
		if i > 0 {
			t.Fatalf("%s:%d: a second Go program", p.name, b.line)
		}
		s.write(t, "main.go", b.text)
		s.writeModule(t)
	}
	runtimeDir := t.TempDir()
	s.env = []string{
		"HOME=" + s.home,
		"PATH=" + s.wrapRunc(t, runtimeDir) + ":" + programs + ":" + os.Getenv("PATH"),
		"TMPDIR=" + t.TempDir(),
		"XDG_RUNTIME_DIR=" + runtimeDir,
		"SSL_CERT_FILE=" + filepath.Join(s.home, ".trusted.pem"),
		"HTTP_PROXY=" + w.proxy.URL, "HTTPS_PROXY=" + w.proxy.URL,
		"LC_ALL=C.UTF-8", "TZ=UTC",
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} { // not below the sandbox's home
		s.env = append(s.env, name+"="+strings.TrimSpace(command(t, "go", "env", name)))
	}
	s.env = append(s.env, "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local")
	return s
}

// wrapRunc makes a runc that keeps its state in dir, and returns the directory it
// is in: containers of the same name, of another page or of a test that was
// killed, must not be in the way.
func (s *sandbox) wrapRunc(t *testing.T, dir string) string {
	t.Helper()
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatalf("%v: run scripts/install-test-tools", err)
	}
	s.write(t, ".bin/runc", fmt.Sprintf("#!/bin/sh\nexec %s --root %s/runc \"$@\"\n", runc, dir))
	check(t, os.Chmod(filepath.Join(s.home, ".bin", "runc"), 0o700))
	return filepath.Join(s.home, ".bin")
}

// writeModule makes the home a module that requires this one.
func (s *sandbox) writeModule(t *testing.T) {
	t.Helper()
	const module = "github.com/waybill-project/waybill"
	ours, err := os.ReadFile(filepath.Join(root, "go.mod"))
	check(t, err)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	check(t, err)
	mod := strings.Replace(string(ours), "module "+module, "module example", 1)
	s.write(t, "go.mod", mod+"\nrequire "+module+" v0.0.0\nreplace "+module+" => "+root+"\n")
	s.write(t, "go.sum", string(sums))
}

func (s *sandbox) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(s.home, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, []byte(content), 0o600))
}

// commandTimeout ends a command that hangs. Nothing depends on how long
// anything takes.
const commandTimeout = 3 * time.Minute

// run runs a command as a shell would after one that ended with that code, and
// returns the lines the terminal shows and the command's own code.
func (s *sandbox) run(t *testing.T, command string, last int) ([]string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", fmt.Sprintf("(exit %d)\n%s", last, command))
	cmd.Dir, cmd.Env = s.home, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s: has not ended after %v\n%s", command, commandTimeout, out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	text := strings.TrimRight(string(out), "\n")
	if text == "" {
		return nil, cmd.ProcessState.ExitCode()
	}
	return strings.Split(text, "\n"), cmd.ProcessState.ExitCode()
}

// ellipsis stands for what differs from run to run, or isn't worth showing.
const ellipsis = "…"

// matches reports whether lines are as the page has them.
func matches(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0
	}
	if want[0] == ellipsis {
		for i := range len(got) + 1 {
			if matches(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && matchesLine(want[0], got[0]) && matches(want[1:], got[1:])
}

// runs of spaces are one: columns are as wide as what they hold.
var spaces = regexp.MustCompile(` {2,}`)

func matchesLine(want, got string) bool {
	parts := strings.Split(spaces.ReplaceAllString(want, "  "), ellipsis)
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	got = spaces.ReplaceAllString(strings.TrimRight(got, " "), "  ")
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(got)
}

// TestMatches makes sure that a page which is wrong is found.
func TestMatches(t *testing.T) {
	got := []string{"name  digest", "app   sha256:00", "web   sha256:11"}
	tests := []struct {
		name string
		want []string
		ok   bool
	}{
		{"the same", got, true},
		{"other columns", []string{"name    digest", "app  sha256:00", "web  sha256:11"}, true},
		{"within a line", []string{"name  digest", "app  sha256:…", "web  …:11"}, true},
		{"lines", []string{"name  digest", "…"}, true},
		{"no lines", append([]string{"…"}, got...), true},
		{"lines before", []string{"…", "web  sha256:11"}, true},
		{"another", []string{"name  digest", "app  sha256:01", "web  sha256:11"}, false},
		{"one less", got[:2], false},
		{"one more", append(slices.Clone(got), "x"), false},
		{"part of a line", []string{"name", "…"}, false},
		{"nothing", nil, false},
	}
	for _, tt := range tests {
		if ok := matches(tt.want, got); ok != tt.ok {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.ok)
		}
	}
}

// TestSteps reads a block as a reader would.
func TestSteps(t *testing.T) {
	b := block{line: 7, text: "$ one \\\n    more\nout\n\nout\n\n$ two\n"}
	got, err := b.steps()
	want := []step{{7, "one \\\n    more", []string{"out", "", "out"}}, {13, "two", nil}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := (block{text: "out\n"}).steps(); err == nil {
		t.Error("output without a command is accepted")
	}
}
