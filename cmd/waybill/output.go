package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// copyOut copies a file to w until ctx ends.
func copyOut(ctx context.Context, w io.Writer, f *os.File) error {
	const step = 8 << 20 // between two looks at ctx
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(w, f, step)
		if errors.Is(err, io.EOF) || n < step && err == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("write the blob: %w", err)
		}
	}
}

// writeFile makes path a copy of f, or leaves it as it was.
func writeFile(ctx context.Context, path string, f *os.File) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A pipe or device: there is nothing to replace.
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(copyOut(ctx, w, f), w.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if err := copyOut(ctx, tmp, f); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
