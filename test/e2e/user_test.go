package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandTimeout ends a program that hangs. No test depends on how long
// anything takes.
const commandTimeout = 2 * time.Minute

// user is somebody with an empty home, an empty store and a clean environment.
type user struct {
	t     *testing.T
	home  string
	store string
	env   []string
}

func newUser(t *testing.T) *user {
	t.Helper()
	home := t.TempDir()
	u := &user{t: t, home: home, store: filepath.Join(home, "store")}
	u.env = []string{
		"HOME=" + home,
		"PATH=" + os.Getenv("PATH"),
		"TMPDIR=" + t.TempDir(),
		"LC_ALL=C.UTF-8",
		// A data race is a failure of the test, whatever the exit code was to be; the
		// detector's usual second of waiting at the end of a program is none.
		"GORACE=exitcode=66 atexit_sleep_ms=0",
	}
	return u
}

// setenv adds NAME=VALUE to the user's environment.
func (u *user) setenv(name, value string) { u.env = append(u.env, name+"="+value) }

// file writes a file below the user's home and returns its path.
func (u *user) file(name, content string) string {
	u.t.Helper()
	path := filepath.Join(u.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// login writes docker's config.json with a password for a registry.
func (u *user) login(host, name, password string) {
	u.t.Helper()
	config := map[string]any{"auths": map[string]any{host: map[string]any{"auth": basic(name, password)}}}
	data, err := json.Marshal(config)
	if err != nil {
		u.t.Fatal(err)
	}
	u.file(".docker/config.json", string(data))
}

// outcome is how a run of waybill ended.
type outcome struct {
	t              *testing.T
	args           []string
	stdout, stderr string
	code           int
}

// command is waybill with those arguments, on the user's store.
func (u *user) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = u.env
	cmd.Dir = u.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// One that hangs says where, on stderr.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// onStore puts --store behind the command's name.
func (u *user) onStore(args []string) []string {
	return append([]string{args[0], "--store", u.store}, args[1:]...)
}

// run runs waybill on the user's store to its end.
func (u *user) run(args ...string) *outcome {
	u.t.Helper()
	return u.exec(u.onStore(args)...)
}

// exec runs waybill with just those arguments to its end.
func (u *user) exec(args ...string) *outcome {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), commandTimeout)
	defer cancel()
	cmd := u.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	o := &outcome{t: u.t, args: args, stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		u.t.Fatalf("waybill %s hangs; stderr: %s", strings.Join(args, " "), o.stderr)
	}
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatalf("%s: %v", o, err)
	}
	o.sane()
	return o
}

// sane holds for every run: no panic, no race, and a code of the contract.
func (o *outcome) sane() {
	o.t.Helper()
	for _, bad := range []string{"panic:", "goroutine ", "DATA RACE", "runtime error"} {
		if strings.Contains(o.stderr, bad) || strings.Contains(o.stdout, bad) {
			o.t.Fatalf("%s: crashed", o)
		}
	}
	if o.code < 0 || o.code > 5 {
		o.t.Fatalf("%s: no exit code of the contract", o)
	}
}

// String describes the run for messages.
func (o *outcome) String() string {
	return fmt.Sprintf("waybill %s\nexit code %d\nstdout: %s\nstderr: %s",
		strings.Join(o.args, " "), o.code, clip(o.stdout), clip(o.stderr))
}

func clip(s string) string {
	const most = 6000
	if len(s) > most {
		return s[:most/2] + "\n[…]\n" + s[len(s)-most/2:]
	}
	return s
}

// exits fails the test unless the run ended with code.
func (o *outcome) exits(code int) *outcome {
	o.t.Helper()
	if o.code != code {
		o.t.Fatalf("%s\nwant exit code %d", o, code)
	}
	return o
}

// says fails the test unless each text stands in stderr.
func (o *outcome) says(texts ...string) *outcome {
	o.t.Helper()
	for _, text := range texts {
		if !strings.Contains(o.stderr, text) {
			o.t.Errorf("%s\nstderr doesn't say %q", o, text)
		}
	}
	return o
}

// never fails the test if any text stands in stdout or stderr.
func (o *outcome) never(texts ...string) *outcome {
	o.t.Helper()
	for _, text := range texts {
		if strings.Contains(o.stdout, text) || strings.Contains(o.stderr, text) {
			o.t.Errorf("%s\nmust not say %q", o, text)
		}
	}
	return o
}

// decode reads stdout as one JSON document, and nothing but one, into v.
func (o *outcome) decode(v any) {
	o.t.Helper()
	d := json.NewDecoder(strings.NewReader(o.stdout))
	if err := d.Decode(v); err != nil {
		o.t.Fatalf("%s\nstdout is no JSON document of the contract: %v", o, err)
	}
	if _, err := d.Token(); err != io.EOF {
		o.t.Fatalf("%s\nstdout holds more than one JSON document", o)
	}
}

// failure reads stderr's error document; stdout must be empty.
func (o *outcome) failure() failureDoc {
	o.t.Helper()
	if o.stdout != "" {
		o.t.Errorf("%s\nstdout must stay empty when it fails", o)
	}
	// The document is the last thing on stderr, on one line or several.
	start := strings.LastIndex("\n"+o.stderr, "\n{")
	if start < 0 {
		o.t.Fatalf("%s\nno error document on stderr", o)
	}
	var f failureDoc
	if err := json.Unmarshal([]byte(o.stderr[start:]), &f); err != nil {
		o.t.Fatalf("%s\nstderr's error document: %v", o, err)
	}
	if f.Error == "" || f.Code != o.code {
		o.t.Errorf("%s\nerror document without its error, or with another code: %+v", o, f)
	}
	return f
}
