package credentials

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DefaultHelperTimeout is how long a credential helper may take where
// [Options] says nothing else.
const DefaultHelperTimeout = 10 * time.Second

// Options configures a [Store]. The zero value is what most programs want.
type Options struct {
	// Files are searched in order. Nil means [DefaultFiles]; empty means
	// none, so that every registry is asked anonymously.
	Files []string
	// HelperTimeout is how long one credential helper may take; zero means
	// [DefaultHelperTimeout].
	HelperTimeout time.Duration
}

// Store looks credentials up. It is safe for concurrent use.
type Store struct {
	files         []string
	helperTimeout time.Duration
}

// New returns a store. It reads nothing yet.
func New(options Options) *Store {
	s := &Store{files: options.Files, helperTimeout: options.HelperTimeout}
	if s.files == nil {
		s.files = DefaultFiles()
	}
	if s.helperTimeout == 0 {
		s.helperTimeout = DefaultHelperTimeout
	}
	return s
}

// DefaultFiles returns the files the package comment lists, as the environment
// has them now. They need not exist.
func DefaultFiles() []string {
	var files []string
	if f := os.Getenv("REGISTRY_AUTH_FILE"); f != "" {
		files = append(files, f)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	} else {
		files = append(files, filepath.Join("/run/containers", strconv.Itoa(os.Getuid()), "auth.json"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		files = append(files, filepath.Join(dir, "config.json"))
	} else if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".docker", "config.json"))
	}
	return files
}

// Get returns the credential for a repository at a registry, or the zero
// Credential where there is none. host is the registry's name with the port
// where one is stated ("docker.io" for Docker Hub), repository the name within
// it; the latter may be empty.
//
// An error says, in one line, which file or helper is at fault.
func (s *Store) Get(ctx context.Context, host, repository string) (Credential, error) {
	keys := lookupKeys(host, repository)
	for _, path := range s.files {
		f, err := readFile(path)
		if err != nil {
			return Credential{}, err
		}
		if helper, server := f.helper(keys); helper != "" {
			c, err := s.ask(ctx, helper, server, path)
			if err != nil || !c.IsZero() {
				return c, err
			}
		}
		c, err := f.auth(keys)
		if err != nil || !c.IsZero() {
			return c, err
		}
	}
	return Credential{}, nil
}

// hubKey is what docker files Docker Hub under, and hubHosts are the names it
// goes by.
const hubKey = "https://index.docker.io/v1/"

var hubHosts = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// canonicalHost returns the name a registry is looked up under.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	for _, h := range hubHosts {
		if host == h {
			return hubHosts[0]
		}
	}
	return host
}

// canonicalKey returns the key of a file in the form of [lookupKeys]: HOST or
// HOST/PATH.
func canonicalKey(key string) string {
	rest, isURL := strings.CutPrefix(key, "https://")
	if !isURL {
		rest, isURL = strings.CutPrefix(key, "http://")
	}
	host, path, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	host = canonicalHost(host)
	if isURL || path == "" || path == "v1" || path == "v2" {
		return host
	}
	return host + "/" + path
}

// lookupKeys returns the keys a repository may be filed under, most specific
// first.
func lookupKeys(host, repository string) []string {
	host = canonicalHost(host)
	var keys []string
	for repository != "" {
		keys = append(keys, host+"/"+repository)
		repository = repository[:max(strings.LastIndexByte(repository, '/'), 0)]
	}
	return append(keys, host)
}
