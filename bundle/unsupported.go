//go:build !linux

package bundle

import (
	"context"
	"errors"
	"fmt"
)

// Create fails: a root filesystem of Linux can only be made on Linux.
func Create(context.Context, string, Image, Options) error {
	return fmt.Errorf("bundle: only possible on Linux: %w", errors.ErrUnsupported)
}
