package openssh

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// maxConfigFile is the largest ssh_config or known_hosts file that is
	// read, in bytes.
	maxConfigFile = 16 << 20
	// maxIncludeDepth is how deep files may include others, as in OpenSSH's
	// READCONF_MAX_DEPTH.
	maxIncludeDepth = 16
	// maxIncludes is how many files one Include may name.
	maxIncludes = 1024
)

// directive is one line of an ssh_config file.
type directive struct {
	keyword string // in lower case
	rest    string // what follows, as written, for keywords that take a line
	args    []string
}

// parseDirective parses a line. One without a keyword is nil.
func parseDirective(line string) (*directive, error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		end = len(line)
	}
	d := &directive{keyword: strings.ToLower(strings.Trim(line[:end], `"`))}
	d.rest = strings.TrimLeft(line[end:], " \t")
	if after, ok := strings.CutPrefix(d.rest, "="); ok {
		d.rest = strings.TrimLeft(after, " \t")
	}
	args, err := splitArguments(d.rest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.keyword, err)
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("%s has no argument", d.keyword)
	}
	d.args = args
	return d, nil
}

// splitArguments splits s at white space outside of quotes, as OpenSSH's
// argv_split does. A word that starts with '#' ends the line.
func splitArguments(s string) ([]string, error) {
	var (
		args  []string
		word  strings.Builder
		quote byte
		in    bool
	)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\'' || s[i+1] == '\\' || quote == 0 && s[i+1] == ' '):
			i++
			word.WriteByte(s[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '"' || c == '\'':
			quote, in = c, true
		case c == ' ' || c == '\t':
			if in {
				args = append(args, word.String())
				word.Reset()
				in = false
			}
		case c == '#' && !in:
			return args, nil
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		args = append(args, word.String())
	}
	return args, nil
}

// readConfigFile returns the content of a file. One that is the user's must not
// be writable by others (ssh_config(5), FILES), who could then have commands
// run.
func readConfigFile(path string, own bool) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeCharDevice == 0 {
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("not a file")}
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); own && ok {
		if owner.Uid != 0 && int(owner.Uid) != os.Getuid() || info.Mode()&0o022 != 0 {
			return "", fmt.Errorf("%s belongs to another user or may be written by one; ssh refuses it too: chmod go-w", path)
		}
	}
	content, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxConfigFile {
		return "", fmt.Errorf("%s is larger than the limit of %d bytes", path, maxConfigFile)
	}
	return string(content), nil
}

// included returns the files that an argument of Include means.
func included(pattern, home, relativeTo string) ([]string, error) {
	switch {
	case strings.HasPrefix(pattern, "~/"):
		pattern = filepath.Join(home, pattern[2:])
	case strings.HasPrefix(pattern, "~"):
		return nil, errors.New("include of another user's file (~USER)")
	case !filepath.IsAbs(pattern):
		pattern = filepath.Join(relativeTo, pattern)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("include %s: %w", pattern, err)
	}
	if len(files) > maxIncludes {
		return nil, fmt.Errorf("include %s: more than %d files", pattern, maxIncludes)
	}
	return files, nil
}

// matchPatterns reports whether s matches a pattern of the list (ssh_config(5),
// PATTERNS) and none that is negated.
func matchPatterns(s string, patterns []string) bool {
	found := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if matchPattern(s, p) {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}

// matchPattern matches s with a pattern of '*' and '?', in time of the product
// of their lengths.
func matchPattern(s, pattern string) bool {
	var star, mark = -1, 0
	i, j := 0, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}
