package docs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// help is what the program says of itself: its commands, and the flags of each.
// Those of "" are for all.
type help map[string][]flag

// flag is a flag in its one or two forms.
type flag struct{ short, long string }

// has reports whether one of the flags is written so.
func has(flags []flag, written string) bool {
	return slices.ContainsFunc(flags, func(f flag) bool { return f.short == written || f.long == written })
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`)
	helpFlag    = regexp.MustCompile(`(?m)^ +(?:(-[a-z]), )?(--[a-z-]+)`)
)

func readHelp(t *testing.T) help {
	t.Helper()
	ask := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "waybill"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("waybill %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	flags := func(text string) (all []flag) {
		for _, m := range helpFlag.FindAllStringSubmatch(text, -1) {
			all = append(all, flag{m[1], m[2]})
		}
		return all
	}
	top := ask("--help")
	_, commands, _ := strings.Cut(top, "Available Commands:")
	commands, global, _ := strings.Cut(commands, "\nFlags:\n")
	h := help{"": flags(global)}
	for _, m := range helpCommand.FindAllStringSubmatch(commands, -1) {
		_, own, _ := strings.Cut(ask(m[1], "--help"), "\nFlags:\n")
		own, _, _ = strings.Cut(own, "\nGlobal Flags:\n")
		h[m[1]] = flags(own)
	}
	return h
}

var (
	// use is a command line of waybill within a text: up to what ends it.
	use      = regexp.MustCompile("(?:^|[\\s(])waybill(?: --?[a-z][^\\s`]*)* ([a-z]+)\\b([^`|;&()\\n\"]*)")
	usedFlag = regexp.MustCompile(`(?:^|\s)(--?[a-z][a-z-]*)`)
	// flagAlone is a flag spoken of by itself: `--from`, `--store DIR`.
	flagAlone = regexp.MustCompile("`(--?[a-z][a-z-]*)(?:[= ][^`]*)?`")
	spokenOf  = regexp.MustCompile("`waybill ([a-z]+)")
)

// TestCommandsAndFlags: what the pages use exists, and what exists is in them.
func TestCommandsAndFlags(t *testing.T) {
	h := readHelp(t)
	if len(h) < 11 || len(h["pull"]) < 3 || len(h[""]) < 10 {
		t.Fatalf("the help was not understood: %q", h)
	}
	mentioned := map[string]bool{}
	for _, p := range allPages(t) {
		if p.name == "BENCHMARKS.md" {
			continue // it speaks of the other programs' flags
		}
		for _, b := range p.blocks {
			if b.language == "console" || b.language == "text" {
				h.checkUses(t, p.name, b.line, strings.ReplaceAll(b.text, "\\\n", " "), mentioned)
			}
		}
		for i, line := range strings.Split(p.prose, "\n") {
			for _, span := range codeSpan.FindAllString(line, -1) {
				h.checkUses(t, p.name, i+1, strings.Trim(span, "`"), mentioned)
			}
			for _, m := range spokenOf.FindAllStringSubmatch(line, -1) {
				mentioned[m[1]] = true
			}
			for _, m := range flagAlone.FindAllStringSubmatch(line, -1) {
				mentioned[m[1]] = true
			}
		}
	}
	for command, flags := range h {
		if command != "" && command != "help" && command != "completion" && !mentioned[command] {
			t.Errorf("no page mentions waybill %s", command)
		}
		for _, f := range flags {
			if f.long != "--help" && f.long != "--version" && !mentioned[f.long] && !mentioned[f.short] {
				t.Errorf("no page mentions %s of waybill %s", f.long, command)
			}
		}
	}
	h.checkAlone(t, mentioned)
}

// checkUses looks at every command line of waybill in text.
func (h help) checkUses(t *testing.T, page string, line int, text string, mentioned map[string]bool) {
	t.Helper()
	for i, part := range strings.Split(text, "\n") {
		for _, m := range use.FindAllStringSubmatch(part, -1) {
			own, ok := h[m[1]]
			if !ok {
				t.Errorf("%s:%d: %s: there is no waybill %s", page, line+i, part, m[1])
				continue
			}
			mentioned[m[1]] = true
			for _, f := range usedFlag.FindAllStringSubmatch(m[2], -1) {
				if !has(own, f[1]) && !has(h[""], f[1]) {
					t.Errorf("%s:%d: waybill %s has no flag %s", page, line+i, m[1], f[1])
				}
				mentioned[f[1]] = true
			}
		}
	}
}

// foreign are flags of other programs that pages speak of by themselves.
var foreign = []string{"--all", "--preserve-digests"}

// checkAlone: flags that pages speak of by themselves are some command's.
func (h help) checkAlone(t *testing.T, mentioned map[string]bool) {
	t.Helper()
	for word := range mentioned {
		if !strings.HasPrefix(word, "-") || slices.Contains(foreign, word) {
			continue
		}
		found := false
		for _, flags := range h {
			found = found || has(flags, word)
		}
		if !found {
			t.Errorf("a page speaks of %s, which no command has", word)
		}
	}
}

// TestMakeTargets: every `make …` of the pages is one of the Makefile's.
func TestMakeTargets(t *testing.T) {
	makefile := readPage(t, "Makefile").prose
	target := regexp.MustCompile(`^\s*make ([a-z]+)`)
	for _, p := range allPages(t) {
		lines := codeSpan.FindAllString(p.prose, -1)
		for _, b := range p.blocks {
			lines = append(lines, strings.Split(b.text, "\n")...)
		}
		for _, line := range lines {
			m := target.FindStringSubmatch(strings.Trim(line, "`$ "))
			if m != nil && !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", p.name, m[1])
			}
		}
	}
}
