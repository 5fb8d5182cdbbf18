package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
	"unicode"
)

const (
	// maxHelperOutput bounds what a helper says.
	maxHelperOutput = 1 << 20
	// maxHelperMessage bounds what of it an error shows.
	maxHelperMessage = 200
	// helperGrace is how long a helper that exited, or was killed, may leave
	// its output open.
	helperGrace = time.Second

	// notFound is how a helper says that it has nothing, by the protocol of
	// docker-credential-helpers.
	notFound = "credentials not found in native keychain"
	// tokenUser as user name says that the secret is an identity token.
	tokenUser = "<token>"
)

// helperName is what may stand behind docker-credential-. It keeps a
// configuration file from naming a program by its path.
var helperName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// ask runs the helper that the file at path names: docker-credential-NAME get,
// with server on its standard input and a JSON object on its output.
func (s *Store) ask(ctx context.Context, name, server, path string) (Credential, error) {
	program := "docker-credential-" + name
	fail := func(format string, args ...any) (Credential, error) {
		return Credential{}, fmt.Errorf("credentials: %s, named in %s, %w", program, path, fmt.Errorf(format, args...))
	}
	if !helperName.MatchString(name) {
		return Credential{}, fmt.Errorf("credentials: %s names a helper that is no plain program name", path)
	}
	timeout, cancel := context.WithTimeout(ctx, s.helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(timeout, program, "get")
	cmd.Stdin = strings.NewReader(server + "\n")
	stdout := &cappedBuffer{}
	cmd.Stdout = stdout
	cmd.WaitDelay = helperGrace
	inOwnGroup(cmd)
	err := cmd.Run()

	message := oneLine(stdout.kept.String())
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Credential{}, context.Cause(ctx)
	case timeout.Err() != nil:
		return fail("did not answer within %v", s.helperTimeout)
	case errors.Is(err, exec.ErrNotFound):
		return fail("is not installed; install it or remove it from the file")
	case stdout.full:
		return fail("wrote more than %d bytes", maxHelperOutput)
	case errors.As(err, &exit) && strings.Contains(message, notFound):
		return Credential{}, nil
	case errors.As(err, &exit):
		return fail("failed with status %d: %s", exit.ExitCode(), message)
	case err != nil:
		return fail("failed: %w", err)
	}
	return parseHelperAnswer(stdout.kept.Bytes(), fail)
}

// parseHelperAnswer reads what a helper printed.
func parseHelperAnswer(b []byte, fail func(string, ...any) (Credential, error)) (Credential, error) {
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(b, &answer); err != nil {
		return fail("did not answer with a JSON object of Username and Secret")
	}
	if answer.Username == tokenUser {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// cappedBuffer keeps up to maxHelperOutput bytes and takes no more, which ends
// the helper that writes them.
type cappedBuffer struct {
	kept bytes.Buffer // not embedded: its ReadFrom would pass Write by
	full bool
}

var errOutputFull = errors.New("too much output")

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxHelperOutput {
		b.full = true
		return 0, errOutputFull
	}
	return b.kept.Write(p)
}

// oneLine returns a helper's message fit for an error.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(s) > maxHelperMessage {
		s = strings.ToValidUTF8(s[:maxHelperMessage], "") + "…"
	}
	return s
}
