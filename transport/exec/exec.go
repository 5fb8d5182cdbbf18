package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// Prefix is what the name of a program begins with; the scheme follows.
	Prefix = "waybill-transport-"
	// DefaultProcesses is how many processes of one scheme there are at most.
	DefaultProcesses = 32
	// DefaultIdle is how long a process that nobody uses is kept.
	DefaultIdle = 30 * time.Second
)

// Options configures a [Transport]. The zero value is what most programs want.
type Options struct {
	// Path is the program. Empty means what [Find] finds, each time a process
	// is started.
	Path string
	// Processes is how many processes there may be at once; more Opens wait.
	// Zero means [DefaultProcesses].
	Processes int
	// Idle is how long a process is kept for the next request. Zero means
	// [DefaultIdle].
	Idle time.Duration
	// Log gets what programs write to their standard error, at level debug.
	// Nil means nobody does; the last line stands in errors all the same.
	Log *slog.Logger
}

// Transport is the [transport.Transport] and [transport.Sizer] of one scheme,
// which a program serves. It is safe for concurrent use.
type Transport struct {
	scheme string
	path   string
	pool   *pool
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns the transport of a scheme. Nothing is looked for or started
// before the first request.
func New(scheme string, o Options) *Transport {
	if o.Processes == 0 {
		o.Processes = DefaultProcesses
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Transport{scheme: scheme, path: o.Path}
	t.pool = &pool{slots: make(chan struct{}, o.Processes), idle: o.Idle, start: func(ctx context.Context) (*process, error) {
		path, err := t.program()
		if err != nil {
			return nil, err
		}
		return startProcess(ctx, path, o.Log)
	}}
	return t
}

// Find returns the absolute path of the program that serves a scheme. Only
// absolute directories of the PATH are looked in: neither the working directory
// nor any relative to it, where a program may lie that came with a download.
// Where there is none the error is, or wraps, exec.ErrNotFound of os/exec.
func Find(scheme string) (string, error) {
	if !schemeGrammar.MatchString(scheme) {
		return "", fmt.Errorf("%.80q is no scheme that a program could serve: want lower-case letters, digits, '+', '.' and '-' after a letter", scheme)
	}
	name := Prefix + scheme
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s in an absolute directory of the PATH: %w", name, exec.ErrNotFound)
}

func (t *Transport) program() (string, error) {
	if t.path != "" {
		return t.path, nil
	}
	path, err := Find(t.scheme)
	if err != nil {
		return "", &startError{err}
	}
	return path, nil
}

// Check says what is wrong with a URI, without asking the program: most of it
// is for that to read.
func (t *Transport) Check(uri string) error {
	fail := func(shown, format string, args ...any) error {
		return transport.Errorf(transport.ErrPermanent, shown, format, args...)
	}
	scheme, _, ok := strings.Cut(uri, ":")
	switch {
	case !ok || !strings.EqualFold(scheme, t.scheme) || !schemeGrammar.MatchString(t.scheme):
		return fail(t.scheme+":…", "not a URI of scheme %q", t.scheme)
	case len(uri) > maxURI:
		return fail(t.scheme+":…", "the URI is longer than the limit of %d bytes", maxURI)
	}
	if _, err := url.Parse(uri); err != nil {
		return fail(t.scheme+":…", "not a URI (RFC 3986); percent-encode what can't stand in one")
	}
	return nil
}

// Close ends the processes that are kept for another request, and waits until
// they are gone. What is open stays so until it is closed. It never fails.
func (t *Transport) Close() error {
	t.pool.close()
	return nil
}

// Open implements [transport.Transport].
func (t *Transport) Open(ctx context.Context, route transport.Route, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	unknown := desc.Size < 0
	if offset < 0 || length < -1 || length == -1 && offset != 0 ||
		!unknown && (offset > desc.Size || length > desc.Size-offset) {
		return nil, transport.Errorf(transport.ErrPermanent, route.URI, "no %d bytes at offset %d in %d bytes", length, offset, desc.Size)
	}
	if length == -1 && !unknown {
		length = desc.Size
	}
	p, h, err := t.ask(ctx, route, &request{Op: opOpen, Digest: desc.Digest.String(), Size: desc.Size, Offset: &offset, Length: &length})
	if err != nil {
		return nil, err
	}
	return newBody(ctx, t, p, route.URI, *h.Length), nil
}

// Size implements [transport.Sizer]: -1 where the program can't tell.
func (t *Transport) Size(ctx context.Context, route transport.Route, desc ocispec.Descriptor) (int64, error) {
	p, h, err := t.ask(ctx, route, &request{Op: opSize, Digest: desc.Digest.String(), Size: desc.Size})
	if err != nil {
		return 0, err
	}
	t.pool.put(p, true)
	return *h.Size, nil
}

// ask makes a request of a process, which the caller gives back after what the
// header announces. With an error there is none to give back.
func (t *Transport) ask(ctx context.Context, route transport.Route, r *request) (*process, *header, error) {
	if err := t.Check(route.URI); err != nil {
		return nil, nil, err
	}
	// Programs make paths of it (CVE-2024-3727).
	if err := blobdigest.Validate(digest.Digest(r.Digest)); err != nil {
		return nil, nil, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
	}
	r.URI, r.Size = route.URI, max(r.Size, -1)
	line, err := r.line()
	if err != nil {
		return nil, nil, transport.Errorf(transport.ErrPermanent, route.URI, "%w", err)
	}
	p, answer, err := t.exchange(ctx, line)
	if err != nil {
		return nil, nil, failure(ctx, route.URI, err)
	}
	h, err := parseHeader(answer, r)
	if err != nil {
		t.pool.put(p, false)
		return nil, nil, failure(ctx, route.URI, &protocolError{err})
	}
	if h.Error != nil {
		t.pool.put(p, true)
		return nil, nil, h.Error.failure(route.URI)
	}
	return p, h, nil
}

// exchange sends a request to a process and returns the line it answers. A
// process that was kept may have ended meanwhile: then another is asked.
func (t *Transport) exchange(ctx context.Context, line []byte) (*process, []byte, error) {
	for {
		p, err := t.pool.get(ctx)
		if err != nil {
			return nil, nil, err
		}
		answer, err := p.ask(ctx, line)
		if err == nil {
			return p, answer, nil
		}
		t.pool.put(p, false)
		if !p.kept || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// failure returns the error that the program answered with.
func (e *errorObject) failure(uri string) error {
	message := httpclient.OneLine(withoutPassword(e.Message, uri))
	if message == "" {
		message = "the program says " + e.Kind
	}
	return &transport.Error{Kind: kinds[e.Kind], URI: uri, RetryAfter: e.retryAfter(), Err: errors.New(message)}
}

// failure returns what it means that a request came to nothing.
func failure(ctx context.Context, uri string, err error) error {
	if ctx.Err() != nil {
		return httpclient.ContextError(ctx)
	}
	var (
		cannotStart *startError
		violation   *protocolError
	)
	kind := transport.ErrTemporary
	if errors.As(err, &cannotStart) || errors.As(err, &violation) {
		kind = transport.ErrPermanent
	}
	return &transport.Error{Kind: kind, URI: uri, Err: &shownError{withoutPassword(err.Error(), uri), err}}
}

// shownError is an error whose text is fit to be shown: programs repeat what
// they were sent.
type shownError struct {
	text string
	err  error
}

func (e *shownError) Error() string { return e.text }
func (e *shownError) Unwrap() error { return e.err }

// withoutPassword removes the password in uri from a program's text.
func withoutPassword(text, uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.User == nil {
		return text
	}
	_, escaped, _ := strings.Cut(u.User.String(), ":")
	password, _ := u.User.Password()
	for _, secret := range []string{escaped, password} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}
