package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/internal/faultserver"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	d := digest.FromString("content")
	path := filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	stop := make(chan os.Signal, 1)
	failed := make(chan error, 1)
	go func() {
		err := run([]string{"-dir", dir, "-random", "1KiB,7", "-ranges", "ignored"}, write, stop)
		write.CloseWithError(err)
		failed <- err
	}()
	lines := bufio.NewScanner(read)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("output ended: %v", lines.Err())
		}
		return lines.Text()
	}
	url, line := next(), next()
	if want := faultserver.RandomBlob(7, 1024).Digest.String() + " 1024"; line != want {
		t.Errorf("generated %q, want %q", line, want)
	}
	req, err := http.NewRequest("GET", url+"/sha256/"+d.Encoded(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 200 || string(body) != "content" {
		t.Errorf("%s %q %v", res.Status, body, err)
	}
	stop <- os.Interrupt
	var stats faultserver.Stats
	if err := json.Unmarshal([]byte(next()), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Requests != 1 || stats.Bytes != int64(len("content")) || stats.URL != url {
		t.Errorf("stats %+v", stats)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestParseBytes(t *testing.T) {
	for _, test := range []struct {
		value string
		want  int64
		ok    bool
	}{
		{"0", 0, true}, {"1000", 1000, true}, {"5MB", 5e6, true}, {"64KiB", 65536, true}, {"1GiB", 1 << 30, true}, {"7B", 7, true},
		{"", 0, false}, {"MB", 0, false}, {"-1", 0, false}, {"1.5MB", 0, false}, {"9999999999GiB", 0, false}, {"5mb", 0, false},
	} {
		got, err := parseBytes(test.value)
		if (err == nil) != test.ok || err == nil && got != test.want {
			t.Errorf("%q: %d, %v", test.value, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		want string
	}{
		{"nothing to serve", "", "nothing to serve"},
		{"stray argument", "-random 1 x", `unexpected argument "x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(strings.Fields(test.args))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
