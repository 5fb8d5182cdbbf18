package mirrors

import (
	"path/filepath"
	"slices"
	"strings"
)

// containerdConfig is what containerd's config.toml says of registries.
type containerdConfig struct {
	// dirs are the directories that its config_path names, nil where it names
	// none; from says where.
	dirs []string
	from string
}

// registryTables are those of registries in a config.toml: of its versions 3, 2
// and 1 (containerd's docs/cri/config.md and docs/cri/registry.md).
var registryTables = [][]string{
	{"plugins", "io.containerd.cri.v1.images", "registry"},
	{"plugins", "io.containerd.grpc.v1.cri", "registry"},
	{"plugins", "cri", "registry"},
}

// loadContainerdConfig reads config.toml, for its config_path alone.
func loadContainerdConfig(opts Options) (containerdConfig, error) {
	path := filepath.Join(opts.Etc, "containerd", "config.toml")
	text, ok, err := readFile(path)
	if err != nil || !ok {
		return containerdConfig{}, err
	}
	file, err := parseTOML(path, text, opts.Note)
	if err != nil {
		return containerdConfig{}, err
	}
	for _, keys := range registryTables {
		t := file.root()
		for _, key := range keys {
			if t, err = t.sub(key); err != nil {
				return containerdConfig{}, err
			}
		}
		for _, old := range []string{"mirrors", "configs"} {
			if t.values[old] != nil {
				opts.Note(Note{t.from(old), "passed over: " + old + " of containerd 1; it has them in hosts.toml, below config_path"})
			}
		}
		paths, err := t.text("config_path")
		if err != nil {
			return containerdConfig{}, err
		}
		if paths == "" {
			continue
		}
		c := containerdConfig{dirs: filepath.SplitList(paths), from: t.from("config_path")}
		if i := slices.IndexFunc(c.dirs, func(dir string) bool { return !filepath.IsAbs(dir) }); i >= 0 {
			return containerdConfig{}, t.fail("config_path", "%q is not an absolute path", clip(c.dirs[i]))
		}
		return c, nil
	}
	return containerdConfig{}, nil
}

// values yields what config.toml says.
func (c containerdConfig) values(yield func(Value) bool) {
	if c.from != "" {
		yield(Value{Containerd, "config-path", strings.Join(c.dirs, " "), c.from})
	}
}
