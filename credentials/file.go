package credentials

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// maxFile bounds a credentials file.
const maxFile = 4 << 20

// file is what matters of docker's config.json and podman's auth.json.
type file struct {
	path string

	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`
}

// authEntry is one value of auths.
type authEntry struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// readFile reads path. A file that is not there, or not for us, is empty.
func readFile(path string) (*file, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return &file{path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("credentials: %s is larger than %d bytes", path, maxFile)
	}
	return parseFile(path, b)
}

// parseFile parses the content of path. Errors say where it is malformed, not
// what stands there: it may be half a password.
func parseFile(path string, b []byte) (*file, error) {
	c := &file{path: path}
	err := json.Unmarshal(b, c)
	var (
		syntax *json.SyntaxError
		typed  *json.UnmarshalTypeError
	)
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("credentials: %s is not valid JSON at byte %d; repair it or log in again", path, syntax.Offset)
	case errors.As(err, &typed):
		return nil, fmt.Errorf("credentials: %s holds another type than a credentials file at byte %d; repair it or log in again", path, typed.Offset)
	}
	return nil, fmt.Errorf("credentials: %s is malformed; repair it or log in again", path)
}

// helper returns the helper to ask for the first of keys that any is
// configured for, and the name it knows the registry by.
func (f *file) helper(keys []string) (name, server string) {
	if key, ok := match(f.CredHelpers, keys); ok {
		return f.CredHelpers[key], serverName(key)
	}
	return f.CredsStore, serverName(keys[len(keys)-1])
}

// serverName returns what docker calls the registry of a key when it speaks to
// helpers.
func serverName(key string) string {
	if key = canonicalKey(key); key == hubHosts[0] {
		return hubKey
	}
	return key
}

// auth returns what auths holds for the first of keys.
func (f *file) auth(keys []string) (Credential, error) {
	key, ok := match(f.Auths, keys)
	if !ok {
		return Credential{}, nil
	}
	e := f.Auths[key]
	switch {
	case e.RegistryToken != "":
		return Credential{RegistryToken: e.RegistryToken}, nil
	case e.IdentityToken != "":
		return Credential{IdentityToken: e.IdentityToken}, nil
	case e.Auth == "":
		return Credential{Username: e.Username, Password: e.Password}, nil
	}
	plain, err := base64.StdEncoding.DecodeString(e.Auth)
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok || user == "" {
		return Credential{}, fmt.Errorf("credentials: %s: auth of %q is not base64 of USER:PASSWORD; log in to it again", f.path, key)
	}
	// docker pads with NUL.
	return Credential{Username: user, Password: strings.Trim(password, "\x00")}, nil
}

// match returns the key of m that means the first possible of keys. Of several
// that mean the same, the one in docker's current form (no URL) is preferred.
func match[V any](m map[string]V, keys []string) (string, bool) {
	if len(m) == 0 {
		return "", false
	}
	spelled := make(map[string]string, len(m))
	for _, k := range slices.Backward(slices.SortedFunc(maps.Keys(m), byForm)) {
		spelled[canonicalKey(k)] = k
	}
	for _, k := range keys {
		if s, ok := spelled[k]; ok {
			return s, true
		}
	}
	return "", false
}

// byForm orders keys without scheme before URLs.
func byForm(a, b string) int {
	aURL, bURL := strings.Contains(a, "://"), strings.Contains(b, "://")
	switch {
	case !aURL && bURL:
		return -1
	case aURL && !bURL:
		return 1
	}
	return strings.Compare(a, b)
}
