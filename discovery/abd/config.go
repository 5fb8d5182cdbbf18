package abd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DefaultDir is where the publication keeps configuration files.
const DefaultDir = "/usr/lib/abd/sources.list.d"

// The strategies there are.
const (
	StrategyHTTPSDNS = "io.abd.https-dns"
	StrategyLocal    = "io.abd.local"
	StrategyNFS      = "io.abd.nfs"
	StrategyNoop     = "io.abd.noop"
)

// Caps on configuration.
const (
	maxConfigs    = 1000
	maxConfigFile = 64 << 10
)

// Config says which strategy finds some identifiers.
type Config struct {
	// File is where it was read, for people. Empty for one that is built in.
	File string `json:"-"`
	// Prefix says for which identifiers. With "*" at its end it is for all
	// that begin so; without, for that identifier and those below it
	// ("com.coreos" for com.coreos.etcd, not for com.coreosx).
	Prefix string `json:"prefix"`
	// Strategy is its name.
	Strategy string `json:"strategy"`

	// StoragePath is the parameter of io.abd.local: an absolute directory.
	StoragePath string `json:"storage-path"`
	// FetchURI is the parameter of io.abd.nfs; see the package comment.
	FetchURI string `json:"fetch-uri"`
}

// Default is what is in force where nothing is configured: everything by
// io.abd.https-dns.
func Default() []Config { return []Config{{Prefix: "*", Strategy: StrategyHTTPSDNS}} }

// ReadConfigs reads the files of dirs whose names end in ".conf", in the order
// of their names whatever the directory; each holds one strategy. Of files of
// the same name that of the first directory counts. A file that can't be read
// or understood is an error, since it could be the one that blocks. Where there
// is no such directory the error is [fs.ErrNotExist].
func ReadConfigs(dirs ...string) ([]Config, error) {
	files := map[string]string{} // name → path
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("abd configuration: %w", err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".conf") || files[e.Name()] != "" {
				continue
			}
			if len(files) == maxConfigs {
				return nil, fmt.Errorf("abd configuration %s: more than %d files", dir, maxConfigs)
			}
			files[e.Name()] = filepath.Join(dir, e.Name())
		}
	}
	var all []Config
	for _, name := range slices.Sorted(maps.Keys(files)) {
		c, err := readConfig(files[name])
		if err != nil {
			return nil, fmt.Errorf("abd configuration %s: %w", files[name], err)
		}
		all = append(all, c)
	}
	return all, nil
}

func readConfig(file string) (Config, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Config{}, err
	}
	if !info.Mode().IsRegular() { // a FIFO would be waited for
		return Config{}, errors.New("not a regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return Config{}, err
	}
	c, err := ParseConfig(content)
	c.File = file
	return c, err
}

// ParseConfig reads the content of one file. Fields that neither abd nor one of
// the strategies here knows are ignored.
func ParseConfig(content []byte) (Config, error) {
	var c Config
	switch err := json.Unmarshal(content, &c); {
	case len(content) > maxConfigFile:
		return Config{}, fmt.Errorf("larger than %d bytes", maxConfigFile)
	case err != nil:
		return Config{}, fmt.Errorf("not JSON of a strategy: %w", err)
	case !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")):
		return Config{}, errors.New("not a JSON object")
	}
	return c, c.check()
}

func (c Config) check() error {
	switch {
	case c.Prefix == "":
		return errors.New(`no "prefix"; write "*" for everything`)
	case strings.Contains(strings.TrimSuffix(c.Prefix, "*"), "*"):
		return fmt.Errorf("prefix %q: '*' can only stand at the end", clip(c.Prefix))
	case c.Strategy == "":
		return errors.New(`no "strategy"`)
	case c.Strategy == StrategyLocal && !filepath.IsAbs(c.StoragePath):
		return fmt.Errorf(`%s needs "storage-path", an absolute directory`, StrategyLocal)
	case c.Strategy == StrategyNFS:
		_, err := c.share()
		return err
	}
	return nil
}

// share returns the directory that fetch-uri of io.abd.nfs means.
func (c Config) share() (string, error) {
	dir := strings.TrimPrefix(c.FetchURI, "nfs://")
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf(`%s needs "fetch-uri" as nfs:///DIR with the directory at which the share is mounted; nothing here speaks NFS`, StrategyNFS)
	}
	return filepath.Clean(dir), nil
}

// Matches reports whether c is for an identifier.
func (c Config) Matches(identifier string) bool {
	if prefix, glob := strings.CutSuffix(c.Prefix, "*"); glob {
		return strings.HasPrefix(identifier, prefix)
	}
	return identifier == c.Prefix || strings.HasPrefix(identifier, c.Prefix+".")
}

// String names the configuration for people.
func (c Config) String() string {
	if c.File == "" {
		return c.Strategy
	}
	return c.Strategy + " of " + c.File
}
