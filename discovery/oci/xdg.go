package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-project/waybill/discovery"
)

// configFile is the local discovery document, below a configuration directory.
const configFile = "oci-discovery/ref-engine-discovery.json"

// localValue is the value of a key and the file it stands in.
type localValue struct {
	file    string
	content []byte
}

// local reads the local discovery documents and merges them: each key has the
// value of the most preferred file that has the key (xdg-ref-engine-discovery.md,
// "XDG representation"). A file that can't be used is told to note and passed
// over, as the publication's own reader does.
func (r *Resolver) local(note func(discovery.Note)) map[string]localValue {
	merged := map[string]localValue{}
	for _, dir := range r.configDirs(note) {
		file := filepath.Join(dir, filepath.FromSlash(configFile))
		content, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var all regexps
		if err == nil {
			all, err = parseRegexps(content)
		}
		if err != nil {
			note(discovery.Note{Where: file, Text: err.Error() + "; the file is ignored", Ignored: true})
			continue
		}
		note(discovery.Note{Where: file, Text: fmt.Sprintf("read: %d expressions", len(all))})
		for key, value := range all {
			if _, ok := merged[key]; !ok {
				merged[key] = localValue{file, value}
			}
		}
	}
	return merged
}

// configDirs returns the configuration directories, most preferred first (XDG
// Base Directory Specification 0.8).
func (r *Resolver) configDirs(note func(discovery.Note)) []string {
	var dirs []string
	home := r.options.Env("XDG_CONFIG_HOME")
	if home == "" && r.options.Home != "" {
		home = filepath.Join(r.options.Home, ".config")
	}
	list := r.options.Env("XDG_CONFIG_DIRS")
	if list == "" {
		list = "/etc/xdg"
	}
	listed := filepath.SplitList(list)
	if len(listed) > MaxConfigDirs {
		note(discovery.Note{Where: "XDG_CONFIG_DIRS", Text: fmt.Sprintf("%d directories; those after the first %d are ignored, which is the limit", len(listed), MaxConfigDirs), Ignored: true})
		listed = listed[:MaxConfigDirs]
	}
	for _, dir := range append([]string{home}, listed...) {
		switch {
		case dir == "":
		case !filepath.IsAbs(dir):
			note(discovery.Note{Where: dir, Text: "a relative configuration directory; ignored, as XDG says", Ignored: true})
		default:
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// readFile reads a file of at most [MaxDocument].
func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(content) > MaxDocument {
		return nil, tooLarge()
	}
	return content, nil
}

// withoutPath leaves the path out of an error that will be told beside it.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// fileURL is the base of templates in a local file.
func fileURL(file string) *url.URL {
	path := filepath.ToSlash(file)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return &url.URL{Scheme: "file", Path: path}
}
