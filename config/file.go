package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waybill-project/waybill/internal/tomldoc"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// source is a place where there may be a configuration file.
type source struct {
	path string
	from string // who named it: "default", "--config", "WAYBILL_CONFIG"
	must bool   // it is an error for it not to exist
}

// locate returns the files to read, in order.
func locate(opts LoadOptions, env func(string) string, home string) []source {
	if opts.File != "" {
		return []source{{path: opts.File, from: "--config", must: true}}
	}
	if file := env("WAYBILL_CONFIG"); file != "" {
		return []source{{path: file, from: "WAYBILL_CONFIG", must: true}}
	}
	system := opts.SystemFile
	if system == "" {
		system = SystemFile
	}
	files := []source{{path: system, from: "default"}}
	if dir := xdgDir(env("XDG_CONFIG_HOME"), home, ".config"); dir != "" {
		files = append(files, source{path: filepath.Join(dir, "waybill", "config.toml"), from: "default"})
	}
	return files
}

// xdgDir returns dir, or where the XDG base directory specification puts it:
// below home. A relative dir counts as unset (same specification). Without
// either there is none.
func xdgDir(dir, home, below string) string {
	switch {
	case filepath.IsAbs(dir):
		return dir
	case filepath.IsAbs(home):
		return filepath.Join(home, below)
	}
	return ""
}

// readFile returns the text of a file. Errors name the path.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("larger than %d bytes, the most a configuration file may have", maxFile)
	}
	return string(text), nil
}

// unreadable returns what to say where the file could not be read because of
// err.
func (s source) unreadable(err error) *Error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if s.must {
		return &Error{From: s.from, Problem: s.path + ": " + err.Error()}
	}
	return &Error{From: s.path, Problem: err.Error()}
}

// merge sets what the text of a file says.
func (c *Config) merge(file, text string) error {
	doc, err := tomldoc.Parse(text)
	if e := (*tomldoc.Error)(nil); errors.As(err, &e) {
		return &Error{From: fmt.Sprintf("%s:%d", file, e.Line), Problem: e.Problem}
	}
	lines := make(map[string]int) // key → where this file sets it
	for key, line := range doc.Keys() {
		raw := doc.Value(key)
		from := fmt.Sprintf("%s:%d", file, line)
		if section, err := asSection(key, raw); err != nil {
			return &Error{From: from, Key: key.String(), Problem: err.Error()}
		} else if section {
			continue
		}
		v, err := c.lookup(key)
		if err != nil {
			return &Error{From: from, Key: key.String(), Problem: err.Error()}
		}
		if first, ok := lines[v.key]; ok {
			return &Error{From: from, Key: v.key, Problem: fmt.Sprintf("set twice, first on line %d", first)}
		}
		if !v.set(raw) {
			return wrongValue(from, raw, v)
		}
		lines[v.key] = line
		c.from[v.key] = from
	}
	return nil
}
