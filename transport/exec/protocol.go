package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// The limits of spec/transport-exec.md §6.
const (
	// maxLine is the longest line either side may send, in bytes with its end.
	maxLine = 16 << 10
	// maxURI is the longest URI that is asked for, in bytes.
	maxURI = 4 << 10
	// maxRetryAfter is the longest a place may ask to be left alone.
	maxRetryAfter = 24 * time.Hour
)

// The protocol's name and version, spec/transport-exec.md §3.
const (
	protocol = "waybill-transport"
	version  = 1
	// versionVariable tells the program, in its environment, which versions
	// are spoken here.
	versionVariable = "WAYBILL_TRANSPORT_VERSIONS"
)

// greeting is the first line of a program.
type greeting struct {
	Protocol string `json:"protocol"`
	Version  int    `json:"version"`
}

// parseGreeting checks the first line of a program.
func parseGreeting(line []byte) error {
	var g greeting
	if err := parseObject(line, &g); err != nil {
		return fmt.Errorf("the first line is no greeting: %w", err)
	}
	if g.Protocol != protocol {
		return fmt.Errorf("the first line greets with protocol %.40q; want %q", g.Protocol, protocol)
	}
	if g.Version != version {
		return fmt.Errorf("the program speaks version %d; this is version %d", g.Version, version)
	}
	return nil
}

// The operations, spec/transport-exec.md §4.
const (
	opOpen = "open"
	opSize = "size"
)

// request is what a program is asked.
type request struct {
	Op     string `json:"op"`
	URI    string `json:"uri"`
	Digest string `json:"digest"`
	// Size is the blob's, or -1 where nobody knows it.
	Size int64 `json:"size"`
	// Offset and Length are the range of an open; Length -1 is the whole blob,
	// of unknown size.
	Offset *int64 `json:"offset,omitempty"`
	Length *int64 `json:"length,omitempty"`
}

// line returns the request as it is sent.
func (r *request) line() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // "&" is common in URIs, and scripts needn't know \u0026
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	if b.Len() > maxLine {
		return nil, fmt.Errorf("the request is longer than the limit of %d bytes", maxLine)
	}
	return b.Bytes(), nil
}

// header is the line a program answers with.
type header struct {
	OK     bool         `json:"ok"`
	Length *int64       `json:"length"`
	Size   *int64       `json:"size"`
	Error  *errorObject `json:"error"`
}

// errorObject is how a program says that there is nothing to come.
type errorObject struct {
	Kind              string   `json:"kind"`
	Message           string   `json:"message"`
	RetryAfterSeconds *float64 `json:"retryAfterSeconds"`
}

// kinds are the kinds of errors, spec/transport-exec.md §5.
var kinds = map[string]error{
	"not-found":         transport.ErrNotFound,
	"unauthorized":      transport.ErrUnauthorized,
	"throttled":         transport.ErrThrottled,
	"range-unsupported": transport.ErrRangeUnsupported,
	"temporary":         transport.ErrTemporary,
	"permanent":         transport.ErrPermanent,
}

// parseHeader reads an answer to a request. Where it returns no error the
// header is complete: it holds an error of a known kind, or what the operation
// is to answer.
func parseHeader(line []byte, r *request) (*header, error) {
	var h header
	if err := parseObject(line, &h); err != nil {
		return nil, fmt.Errorf("the answer is no header: %w", err)
	}
	if h.Error != nil {
		return &h, h.Error.check(h.OK)
	}
	if !h.OK {
		return nil, errors.New(`the answer has neither "ok": true nor "error"`)
	}
	if h.Size != nil && *h.Size < -1 {
		return nil, fmt.Errorf("the answer has the size %d", *h.Size)
	}
	if r.Op == opSize {
		if h.Size == nil {
			return nil, errors.New(`the answer to "size" has no size`)
		}
		return &h, nil
	}
	return &h, h.checkLength(r)
}

// checkLength holds what is about to come against what was asked for.
func (h *header) checkLength(r *request) error {
	size := int64(-1)
	if h.Size != nil {
		size = *h.Size
	}
	switch {
	case h.Length == nil || *h.Length < 0:
		return errors.New(`the answer to "open" has no length`)
	case r.Size >= 0 && size >= 0 && size != r.Size:
		return fmt.Errorf("the blob is %d bytes here; it should be %d", size, r.Size)
	case *r.Length >= 0 && *h.Length != *r.Length:
		return fmt.Errorf("%d bytes are announced; %d were asked for", *h.Length, *r.Length)
	case *r.Length < 0 && size >= 0 && *h.Length != size:
		return fmt.Errorf("%d bytes are announced of a whole blob of %d", *h.Length, size)
	}
	return nil
}

// check says what is wrong with an error.
func (e *errorObject) check(ok bool) error {
	switch {
	case ok:
		return errors.New(`the answer has both "ok": true and "error"`)
	case kinds[e.Kind] == nil:
		return fmt.Errorf("the answer has an error of the unknown kind %.40q", e.Kind)
	case e.RetryAfterSeconds != nil && *e.RetryAfterSeconds < 0:
		return errors.New("the answer has a negative retryAfterSeconds")
	}
	return nil
}

// retryAfter returns how long the place is to be left alone.
func (e *errorObject) retryAfter() time.Duration {
	if e.RetryAfterSeconds == nil {
		return 0
	}
	if *e.RetryAfterSeconds > maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	return time.Duration(*e.RetryAfterSeconds * float64(time.Second))
}

// parseObject reads a line that is one JSON object. Members that are not known
// are ignored, so that later versions can add some.
func parseObject(line []byte, into any) error {
	if trimmed := bytes.TrimLeft(line, " \t\r"); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("not a JSON object")
	}
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("not the JSON it should be: %w", err)
	}
	return nil
}

// schemeGrammar is that of RFC 3986 §3.1, in lower case. Nothing in it means
// anything to a file system.
var schemeGrammar = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,63}$`)
