package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// plainReadCommand is the first argument with which this program runs itself to
// be measured as [plainRead].
const plainReadCommand = "plain-read"

// plainRead is the least that can be done: DIR, then URLs, read one after the
// other, hashed and written to files, in one loop. It is what the machine can do
// with one connection.
func plainRead(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("%s: want DIR URL…", plainReadCommand)
	}
	for n, url := range args[1:] {
		if err := readOne(filepath.Join(args[0], fmt.Sprint(n)), url); err != nil {
			return fmt.Errorf("read %s: %w", url, err)
		}
	}
	return nil
}

func readOne(file, url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	buf := make([]byte, 256<<10)
	// Nothing but Writer and Reader, so that the buffer is what is used.
	to := struct{ io.Writer }{io.MultiWriter(f, sum)}
	if _, err := io.CopyBuffer(to, struct{ io.Reader }{response.Body}, buf); err != nil {
		return err
	}
	if got, want := hex.EncodeToString(sum.Sum(nil)), filepath.Base(url); "sha256:"+got != want && got != want {
		return fmt.Errorf("wrong content %s", got)
	}
	return f.Close()
}

// plainReader is plainRead as a contender.
func plainReader(urls []string) contender {
	return contender{"plain read, SHA-256, write", func(ctx context.Context, dir string) (measurement, error) {
		self, err := os.Executable()
		if err != nil {
			return measurement{}, err
		}
		return measure(command(ctx, dir, self, append([]string{plainReadCommand, dir}, urls...)...))
	}}
}
