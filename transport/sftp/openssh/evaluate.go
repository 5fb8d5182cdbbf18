package openssh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// evaluation applies configuration files to one host: the first value found
// for a keyword holds (ssh_config(5)).
type evaluation struct {
	ctx       context.Context
	home      string
	localUser string
	// alias is the host as the user wrote it, user what came with it.
	alias, user string

	values map[string][]string
	// final is true in a second pass, which wantFinal asked for.
	final, wantFinal bool
}

// several are the keywords of which every value counts.
var several = []string{"identityfile", "certificatefile"}

// value returns the first argument of a keyword, or "".
func (e *evaluation) value(keyword string) string {
	if v := e.values[keyword]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// files applies the user's file and then the system's. A missing file is
// empty.
func (e *evaluation) files(user, system string) error {
	for _, f := range []struct {
		path string
		own  bool
	}{{user, true}, {system, false}} {
		if f.path == "" {
			continue
		}
		err := e.file(f.path, f.own, true, 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// file applies one file. One included by an inactive block is only parsed.
func (e *evaluation) file(path string, own, active bool, depth int) error {
	if depth > maxIncludeDepth {
		return fmt.Errorf("%s: files include each other more than %d deep", path, maxIncludeDepth)
	}
	content, err := readConfigFile(path, own)
	if err != nil {
		return err
	}
	mayActivate, number := active, 0
	for line := range strings.Lines(content) {
		number++
		d, err := parseDirective(line)
		if err == nil && d != nil {
			active, err = e.apply(d, path, own, active, mayActivate, depth)
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, number, err)
		}
	}
	return nil
}

// apply applies one line and reports whether those after it count.
func (e *evaluation) apply(d *directive, path string, own, active, mayActivate bool, depth int) (bool, error) {
	switch d.keyword {
	case "host":
		return mayActivate && matchPatterns(e.alias, d.args), nil
	case "match":
		matches, err := e.match(d.args, mayActivate)
		return mayActivate && matches, err
	case "include":
		relativeTo := filepath.Join(e.home, ".ssh")
		if !own {
			relativeTo = filepath.Dir(path)
		}
		for _, pattern := range d.args {
			files, err := included(pattern, e.home, relativeTo)
			if err != nil {
				return active, err
			}
			for _, file := range files {
				if err := e.file(file, own, active, depth+1); err != nil {
					return active, err
				}
			}
		}
		return active, nil
	}
	if active {
		e.set(d)
	}
	return active, nil
}

func (e *evaluation) set(d *directive) {
	args := d.args
	if d.keyword == "proxycommand" {
		args = []string{strings.TrimSpace(d.rest)} // a line for the shell, quotes and all
	}
	old, known := e.values[d.keyword]
	switch {
	case slices.Contains(several, d.keyword):
		if !slices.Contains(old, args[0]) {
			e.values[d.keyword] = append(old, args[0])
		}
	case !known:
		e.values[d.keyword] = args
		// Of these two, the first one also rules out the other.
		switch d.keyword {
		case "proxyjump":
			e.setDefault("proxycommand", "none")
		case "proxycommand":
			e.setDefault("proxyjump", "none")
		}
	}
}

func (e *evaluation) setDefault(keyword, value string) {
	if _, known := e.values[keyword]; !known {
		e.values[keyword] = []string{value}
	}
}

// match evaluates the criteria of a Match line. All of them must hold. Where it
// can't matter, no command is run.
func (e *evaluation) match(args []string, matters bool) (bool, error) {
	result := true
	for len(args) > 0 {
		criterion, value, assigned := strings.Cut(args[0], "=")
		criterion, negated := strings.CutPrefix(strings.ToLower(criterion), "!")
		args = args[1:]
		var holds bool
		switch criterion {
		case "all":
			holds = true
		case "canonical": // CanonicalizeHostname is not done
		case "final":
			e.wantFinal = true
			holds = e.final
		default:
			if !assigned {
				if len(args) == 0 {
					return false, fmt.Errorf("match %s has no argument", criterion)
				}
				value, args = args[0], args[1:]
			}
			var err error
			if holds, err = e.criterion(criterion, value, matters && result); err != nil {
				return false, err
			}
		}
		result = result && holds != negated
	}
	return result, nil
}

func (e *evaluation) criterion(criterion, value string, matters bool) (bool, error) {
	patterns := strings.Split(value, ",")
	switch criterion {
	case "host":
		host := e.alias
		if name := e.value("hostname"); name != "" {
			host = strings.ReplaceAll(name, "%h", e.alias)
		}
		return matchPatterns(host, patterns), nil
	case "originalhost":
		return matchPatterns(e.alias, patterns), nil
	case "user":
		user := e.user
		if user == "" {
			user = e.value("user")
		}
		if user == "" {
			user = e.localUser
		}
		return matchPatterns(user, patterns), nil
	case "localuser":
		return matchPatterns(e.localUser, patterns), nil
	case "tagged":
		return matchPatterns(e.value("tag"), patterns), nil
	case "exec":
		if !matters {
			return false, nil
		}
		return e.exec(value)
	}
	return false, fmt.Errorf("match criterion %q is not known here", criterion)
}

// exec runs the command of a Match exec, which is true if that succeeds.
func (e *evaluation) exec(command string) (bool, error) {
	s, err := e.settings()
	if err != nil {
		return false, err
	}
	line, err := s.shellLine(command)
	if err != nil {
		return false, fmt.Errorf("match exec: %w", err)
	}
	err = exec.CommandContext(e.ctx, "/bin/sh", "-c", line).Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return false, fmt.Errorf("match exec: %w", err)
	}
	if e.ctx.Err() != nil {
		return false, e.ctx.Err()
	}
	return err == nil, nil
}
