package exec_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/exec"
)

const (
	clientVectors = "../../spec/vectors/transport-exec/client.json"
	lineVectors   = "../../spec/vectors/transport-exec/lines.json"
	// playVariable makes this test's own binary the program of a vector.
	playVariable = "WAYBILL_TEST_PLAY"
)

// vector is a case of client.json, spec/transport-exec.md §8.
type vector struct {
	Name    string `json:"name"`
	Request struct {
		Op     string        `json:"op"`
		Digest digest.Digest `json:"digest"`
		Size   int64         `json:"size"`
		Offset int64         `json:"offset"`
		Length int64         `json:"length"`
	} `json:"request"`
	Line   string `json:"line"`
	Writes struct {
		Greeting string `json:"greeting"`
		Answer   string `json:"answer"`
	} `json:"writes"`
	Exit    *int `json:"exit"`
	Outcome struct {
		Body              *string `json:"body"`
		End               string  `json:"end"`
		Size              *int64  `json:"size"`
		Error             string  `json:"error"`
		RetryAfterSeconds float64 `json:"retryAfterSeconds"`
	} `json:"outcome"`
}

// kinds are the kinds of errors in vectors.
var kinds = map[string]error{
	"not-found": transport.ErrNotFound, "unauthorized": transport.ErrUnauthorized, "throttled": transport.ErrThrottled,
	"range-unsupported": transport.ErrRangeUnsupported, "temporary": transport.ErrTemporary, "permanent": transport.ErrPermanent,
}

func TestMain(m *testing.M) {
	if played := os.Getenv(playVariable); played != "" {
		os.Exit(play(played))
	}
	os.Exit(m.Run())
}

// play is the program of a vector, which is given as JSON.
func play(played string) int {
	var v vector
	if err := json.Unmarshal([]byte(played), &v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 100
	}
	fmt.Print(v.Writes.Greeting)
	in := bufio.NewReader(os.Stdin)
	if v.Exit == nil || strings.HasSuffix(v.Writes.Greeting, "\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0 // nobody asks
		}
		if v.Line != "" && line != v.Line {
			fmt.Fprintf(os.Stderr, "the request is %q; want %q\n", line, v.Line)
			return 101
		}
	}
	fmt.Print(v.Writes.Answer)
	if v.Exit != nil {
		return *v.Exit
	}
	_, _ = io.Copy(io.Discard, in)
	return 0
}

// playing returns a transport whose program plays v, and the route to it.
func playing(t *testing.T, v vector) (*exec.Transport, transport.Route) {
	t.Helper()
	played, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(playVariable, string(played))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tr := exec.New("vector", exec.Options{Path: self})
	t.Cleanup(func() { tr.Close() })
	return tr, transport.Route{URI: "vector:x"}
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	var vectors []vector
	readJSON(t, clientVectors, &vectors)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			tr, route := playing(t, v)
			desc := ocispec.Descriptor{Digest: v.Request.Digest, Size: v.Request.Size}
			if v.Request.Op == "size" {
				size, err := tr.Size(t.Context(), route, desc)
				if v.Outcome.Size != nil {
					if err != nil || size != *v.Outcome.Size {
						t.Errorf("got %d, %v; want %d", size, err, *v.Outcome.Size)
					}
					return
				}
				checkError(t, err, v.Outcome.Error, 0)
				return
			}
			body, err := tr.Open(t.Context(), route, desc, v.Request.Offset, v.Request.Length)
			if v.Outcome.Body == nil {
				checkError(t, err, v.Outcome.Error, v.Outcome.RetryAfterSeconds)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			got, err := io.ReadAll(body)
			if string(got) != *v.Outcome.Body {
				t.Errorf("read %q, want %q", got, *v.Outcome.Body)
			}
			if v.Outcome.End != "eof" {
				checkError(t, err, v.Outcome.End, 0)
			} else if err != nil {
				t.Errorf("the end is %v, want io.EOF", err)
			}
		})
	}
}

// checkError checks the kind of an error and how long it asks for patience.
func checkError(t *testing.T, err error, kind string, retryAfterSeconds float64) {
	t.Helper()
	want, ok := kinds[kind]
	if !ok {
		t.Fatalf("the vector has no outcome that is known: %q", kind)
	}
	var te *transport.Error
	if !errors.As(err, &te) || te.Kind != want {
		t.Errorf("got %v, want %v", err, want)
		return
	}
	if after := time.Duration(retryAfterSeconds * float64(time.Second)); te.RetryAfter != after {
		t.Errorf("RetryAfter is %v, want %v", te.RetryAfter, after)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line: %q", err)
	}
}

func TestLineVectors(t *testing.T) {
	var lines []struct {
		Name, Prefix, Fill string
		Bytes              int
		Counts             bool
	}
	readJSON(t, lineVectors, &lines)
	for _, l := range lines {
		t.Run(l.Name, func(t *testing.T) {
			// Too long for the environment, so made by a script.
			program := write(t, t.TempDir(), "program", fmt.Sprintf(`#!/bin/sh
echo '{"protocol":"waybill-transport","version":1}'
read -r request
printf '%%s' '%s'
head -c %d /dev/zero | tr '\0' '%s'
printf '\nhello'
`, l.Prefix, l.Bytes-len(l.Prefix)-1, l.Fill))
			tr := exec.New("vector", exec.Options{Path: program})
			defer tr.Close()
			desc := ocispec.Descriptor{Digest: digest.FromString("hello"), Size: 5}
			body, err := tr.Open(t.Context(), transport.Route{URI: "vector:x"}, desc, 0, 5)
			if !l.Counts {
				checkError(t, err, "permanent", 0)
				if err != nil && !strings.Contains(err.Error(), "limit of 16384 bytes") {
					t.Errorf("the error doesn't name the limit: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || string(got) != "hello" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}
