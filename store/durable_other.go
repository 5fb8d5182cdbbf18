//go:build unix && !linux

package store

import (
	"errors"
	"os"
)

// syncData makes f's content durable.
func syncData(f *os.File) error { return f.Sync() }

// startWriteback does nothing.
func startWriteback(*os.File) {}

// allocate always says that space can't be reserved.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// bootID returns the empty string, which no two boots have in common: only what
// was synced counts when a partial is opened again.
func bootID() (string, error) { return "", nil }
