//go:build !linux

package bundle

import (
	"context"
	"errors"
	"fmt"
)

// CheckTarget fails as Create does.
func CheckTarget(dir string) error {
	return Create(context.Background(), dir, Image{}, Options{})
}

// Create fails: a root filesystem of Linux can only be made on Linux.
func Create(context.Context, string, Image, Options) error {
	return fmt.Errorf("bundle: only possible on Linux: %w", errors.ErrUnsupported)
}
