package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	// The algorithms of the image specification's digests.
	_ "crypto/sha256"
	_ "crypto/sha512"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageConfig is an image configuration that has been looked over.
type imageConfig = ocispec.Image

// parseConfig reads an image configuration and makes sure that a bundle can be
// made of it, as far as that shows before the layers are there.
func parseConfig(raw []byte) (imageConfig, error) {
	fail := func(format string, args ...any) (imageConfig, error) {
		return imageConfig{}, fmt.Errorf("%w: image configuration: "+format, append([]any{ErrInvalid}, args...)...)
	}
	if len(raw) > MaxConfigSize {
		return imageConfig{}, fmt.Errorf("%w: image configuration is larger than %d bytes", ErrLimit, MaxConfigSize)
	}
	var conf imageConfig
	if err := json.Unmarshal(raw, &conf); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fail("not JSON: at byte %d: %w", syntax.Offset, err)
		}
		return fail("%w", err)
	}
	if conf.OS != "" && conf.OS != "linux" {
		return fail("image is for %q: choose the linux one of its platforms", conf.OS)
	}
	if conf.RootFS.Type != "layers" {
		return fail(`rootfs.type is %q and can only be "layers"`, shorten(conf.RootFS.Type))
	}
	for i, d := range conf.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return fail("rootfs.diff_ids[%d] %q: %w", i, shorten(string(d)), err)
		}
	}
	return conf, checkProcess(conf.Config)
}

// checkProcess makes sure that a process can be started with what c says.
func checkProcess(c ocispec.ImageConfig) error {
	for _, env := range c.Env {
		if name, _, ok := strings.Cut(env, "="); !ok || name == "" {
			return fmt.Errorf("%w: image configuration: environment variable %q is not of the form NAME=VALUE", ErrInvalid, shorten(env))
		}
	}
	for _, list := range [][]string{c.Env, c.Entrypoint, c.Cmd, {c.WorkingDir, c.User}} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return fmt.Errorf("%w: image configuration: %q holds a NUL character", ErrInvalid, shorten(s))
			}
		}
	}
	return nil
}

// shorten keeps a name from outside fit for a line of an error message.
func shorten(name string) string {
	const most = 200
	if len(name) > most {
		return name[:most] + "…"
	}
	return name
}
