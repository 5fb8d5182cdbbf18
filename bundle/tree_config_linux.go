package bundle

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// checkTreeConfig makes sure that the config.json in dir is an OCI runtime
// configuration (runtime-spec config.md) of the root filesystem beside it.
func checkTreeConfig(dir string, opts TreeOptions) error {
	f, err := openTreeConfig(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxConfigSize+1))
	if err != nil {
		return fmt.Errorf("%s: %w", ConfigName, err)
	}
	if len(content) > MaxConfigSize {
		return fmt.Errorf("%w: %s is larger than %d bytes (MaxConfigSize)", ErrLimit, ConfigName, MaxConfigSize)
	}
	var spec specs.Spec
	if err := json.Unmarshal(content, &spec); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, ConfigName, err)
	}
	if !strings.HasPrefix(spec.Version, "1.") {
		return fmt.Errorf("%w: %s: ociVersion is %q, not 1.x: it is not an OCI runtime configuration", ErrInvalid, ConfigName, shorten(spec.Version))
	}
	if err := checkTreeRoot(dir, spec.Root); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, ConfigName, err)
	}
	return checkTreeReach(&spec, opts)
}

// checkTreeRoot makes sure that the root filesystem is a directory of the
// bundle. The runtime would take any path.
func checkTreeRoot(dir string, root *specs.Root) error {
	if root == nil || root.Path == "" {
		return fmt.Errorf("root.path is missing")
	}
	if !filepath.IsLocal(root.Path) {
		return fmt.Errorf("root.path %q leads out of the bundle", shorten(root.Path))
	}
	at := dir
	for name := range strings.SplitSeq(filepath.Clean(root.Path), "/") {
		at = filepath.Join(at, name)
		info, err := os.Lstat(at)
		if err != nil || !info.IsDir() {
			return fmt.Errorf("root.path %q is no directory of the bundle", shorten(root.Path))
		}
	}
	return nil
}

// checkTreeReach refuses hooks, unless they are allowed, and warns of what else
// reaches out of the container.
func checkTreeReach(spec *specs.Spec, opts TreeOptions) error {
	if hooks := spec.Hooks; hooks != nil && !opts.AllowHooks {
		//lint:ignore SA1019 Prestart is deprecated, and run all the same.
		count := len(hooks.Prestart) + len(hooks.CreateRuntime) + len(hooks.CreateContainer) +
			len(hooks.StartContainer) + len(hooks.Poststart) + len(hooks.Poststop)
		if count > 0 {
			return fmt.Errorf("%w: %s has %d hooks, programs that run outside of the container", ErrInvalid, ConfigName, count)
		}
	}
	for _, m := range spec.Mounts {
		if filepath.IsAbs(m.Source) {
			opts.Warn(fmt.Sprintf("%s mounts %s of this machine at %s", ConfigName, shorten(m.Source), shorten(m.Destination)))
		}
	}
	if spec.Linux != nil && len(spec.Linux.Devices) > 0 {
		opts.Warn(fmt.Sprintf("%s makes %d devices", ConfigName, len(spec.Linux.Devices)))
	}
	return nil
}
