//go:build !linux

package bundle

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// CreateTree fails: a root filesystem of Linux can only be made on Linux.
func CreateTree(context.Context, string, iter.Seq2[TreeEntry, error], TreeOptions) error {
	return fmt.Errorf("bundle: only possible on Linux: %w", errors.ErrUnsupported)
}
