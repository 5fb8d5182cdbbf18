package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
)

// maxMark is the most bytes the file of a mark may have.
const maxMark = 16 << 10

// Mark is the sequence number below which no document of a signer about an image
// counts any more (spec/waybill.md §8).
type Mark struct {
	// Signer is who vouches for the document, as its reader names them.
	Signer string `json:"signer"`
	// Image is what it is about.
	Image digest.Digest `json:"image"`
	// Sequence and Digest are those of the document that was used last.
	Sequence int64         `json:"sequence"`
	Digest   digest.Digest `json:"digest"`
	// Until is when the mark is forgotten.
	Until time.Time `json:"until"`
}

// path returns the file of the mark of a signer and image.
func (m Mark) path(s *Store) string {
	sum := sha256.Sum256([]byte(m.Signer + "\n" + string(m.Image)))
	return s.path(marksDir, hex.EncodeToString(sum[:])+".json")
}

// PutMark keeps m in place of the mark of the same signer and image. Of two
// processes that do so at once the last one's is kept.
func (s *Store) PutMark(m Mark) error {
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxMark {
		err = fmt.Errorf("%d bytes, more than the limit of %d", len(b), maxMark)
	}
	if err == nil {
		err = makeDirs(s.dir, s.path(marksDir)) // stores of earlier versions have none
	}
	if err == nil {
		err = s.writeFile(m.path(s), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("mark of %s: %w", quoteShort(m.Signer), err)
	}
	return nil
}

// Mark returns the mark of a signer and image, or [ErrNotFound] where there is
// none any more at the time now.
func (s *Store) Mark(signer string, image digest.Digest, now time.Time) (Mark, error) {
	path := Mark{Signer: signer, Image: image}.path(s)
	m, err := readMark(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !now.Before(m.Until):
		return Mark{}, fmt.Errorf("mark of %s: %w", quoteShort(signer), ErrNotFound)
	case err == nil && (m.Signer != signer || m.Image != image):
		err = fmt.Errorf("%w: %s is of %s", ErrCorrupt, path, quoteShort(m.Signer))
	}
	if err != nil {
		return Mark{}, fmt.Errorf("mark of %s: %w; remove it", quoteShort(signer), err)
	}
	return m, nil
}

func readMark(path string) (Mark, error) {
	b, err := readSmall(path, maxMark)
	if err != nil {
		return Mark{}, err
	}
	var m Mark
	if err := json.Unmarshal(b, &m); err != nil {
		return Mark{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return m, nil
}

// sweepMarks removes the marks that are to be forgotten, and what is none.
func (s *Store) sweepMarks(now time.Time) error {
	for entry, err := range readDir(s.path(marksDir)) {
		if err != nil {
			return err
		}
		path := s.path(marksDir, entry.Name())
		if m, err := readMark(path); err == nil && now.Before(m.Until) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.writeError(err, 0)
		}
	}
	return nil
}
