package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/discovery/abd"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// Exit codes: a contract with scripts.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3 // nowhere
	exitVerify   = 4 // content failed verification everywhere
	exitRefused  = 5 // by policy
)

// usageError is a command line that can't be meant.
type usageError struct {
	cmd *cobra.Command // nil where help on a command would not help
	err error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// notFoundError is something asked of the store that isn't there.
type notFoundError struct{ what, hint string }

func (e notFoundError) Error() string { return e.what }

// outcome is how an error is reported: the "errors" shape of the contract,
// and a line on what to do.
type outcome struct {
	Error   string          `json:"error"`
	Code    int             `json:"code"`
	Sources []outcomeSource `json:"sources"`
	Hint    string          `json:"hint,omitempty"`
}

type outcomeSource struct {
	URI   string `json:"uri"`
	Error string `json:"error"`
}

// classify gives an error its exit code, its sources and its advice.
func classify(ctx context.Context, err error, offline bool) outcome {
	out := outcome{Error: oneLine(err.Error()), Code: exitFailed, Sources: []outcomeSource{}}
	var fe *fetch.Error
	if errors.As(err, &fe) {
		for _, s := range fe.Sources {
			_, reason, _ := strings.Cut(s.Error(), transport.Redact(s.URI)+": ")
			out.Sources = append(out.Sources, outcomeSource{transport.Redact(s.URI), oneLine(reason)})
		}
	}
	var usage usageError
	var te *transport.Error
	if fe == nil && !errors.As(err, &usage) && errors.As(err, &te) {
		cause := te.Kind
		if te.Err != nil {
			cause = te.Err
		}
		out.Sources = append(out.Sources, outcomeSource{transport.Redact(te.URI), oneLine(cause.Error())})
		if rest, ok := strings.CutSuffix(out.Error, ": "+oneLine(te.Error())); ok {
			out.Error = rest // the line of the source says it
		}
	}
	var split *resolve.DisagreementError
	if errors.As(err, &split) {
		out.Error = oneLine(fmt.Sprintf("%s: %v on what it means", split.Name, resolve.ErrDisagree))
		for _, a := range split.Answers {
			out.Sources = append(out.Sources, outcomeSource{transport.Redact(cmp.Or(a.By.URI, a.By.Resolver)), oneLine(a.Says())})
		}
	}
	var space *store.SpaceError
	var missing notFoundError
	var handshake *httpclient.HandshakeError
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		out.Error = "interrupted"
		out.Hint = "what was fetched is kept; run the same command again to go on"
	case errors.As(err, &usage):
		out.Code = exitUsage
		out.Hint = `run "waybill --help" for how it is used`
		if usage.cmd != nil {
			out.Hint = fmt.Sprintf("run %q for how it is used", usage.cmd.CommandPath()+" --help")
		}
	case errors.As(err, &missing):
		out.Code, out.Hint = exitNotFound, missing.hint
	case errors.Is(err, fetch.ErrOffline), offline && errors.Is(err, resolve.ErrNotFound):
		out.Code = exitNotFound
		out.Hint = "run it once without --offline"
	case split != nil:
		out.Code = exitRefused
		out.Hint = `find out who is right, and name the image by its digest; "waybill config" shows who has to agree`
	case errors.As(err, new(*mirrors.Error)):
		out.Hint = "correct what the line above names; docs/mirrors.md says what is understood"
	case errors.Is(err, abd.ErrBlocked), errors.As(err, new(*mirrors.BlockedError)):
		out.Code = exitRefused
		out.Hint = "change the file named above if such images are meant to be had"
	case errors.Is(err, resolve.ErrNotFound):
		out.Code = exitNotFound
		out.Hint = "check the name, and that you may read it there"
	case errors.Is(err, image.ErrNoPlatform):
		out.Code = exitNotFound
		out.Hint = "choose one of the platforms listed with --platform"
	case errors.Is(err, fetch.ErrNotFound):
		out.Code = exitNotFound
		out.Hint = "name a source that has it with --from URI"
	case errors.Is(err, fetch.ErrVerification), errors.Is(err, bundle.ErrDiffID):
		out.Code = exitVerify
		out.Hint = "nothing was kept; name a source that can be trusted to have the right bytes with --from URI"
	case errors.Is(err, transport.ErrRefused) && !overHTTP(out.Sources):
		out.Code = exitRefused
		out.Hint = "do what the line of the source says if it is meant to be trusted; its page in docs/ says more"
	case errors.Is(err, transport.ErrRefused):
		out.Code = exitRefused
		out.Hint = `allow the host in the configuration ([host."HOST"] trusted = true) if it is meant to be reached`
	case errors.As(err, &space):
		out.Hint = `free some space, run "waybill gc", or choose another place with --store DIR; what was fetched is kept`
	case errors.Is(err, bundle.ErrLimit):
		out.Hint = "raise bundle.max-size in the configuration if the image is meant to be that large"
	case errors.As(err, new(*tls.CertificateVerificationError)) && !overHTTP(out.Sources):
		out.Hint = "have the system trust the certificate's authority, or name its file in SSL_CERT_FILE"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		out.Hint = "put the certificate of its authority into a certs.d directory (see waybill config), or take any with --insecure=HOST"
	case errors.As(err, &handshake):
		out.Hint = "where it doesn't speak TLS, allow plain http with --plain-http=HOST"
	case errors.Is(err, transport.ErrUnauthorized) && !overHTTP(out.Sources):
		out.Hint = "where the place looks for credentials stands on its page in docs/; or name another source with --from URI"
	case errors.Is(err, transport.ErrUnauthorized):
		out.Hint = "log in with docker login or podman login, or name another source with --from URI"
	case errors.Is(err, fetch.ErrUnavailable), errors.Is(err, transport.ErrTemporary):
		out.Hint = "what was fetched is kept; run the same command again to go on, or name another source with --from URI"
	case errors.Is(err, bundle.ErrOccupied):
		out.Hint = "choose a directory that doesn't exist or is empty"
	case errors.Is(err, fs.ErrPermission):
		out.Hint = "check who owns the file or directory named above"
	case errors.Is(err, fs.ErrNotExist):
		out.Hint = "check the path named above"
	default:
		out.Hint = `run "waybill explain" for what happened, or the command again with -v`
	}
	return out
}

// overHTTP reports whether one of the sources is a registry or web server, to
// which docker's logins and certificates, and the configuration of hosts, apply.
func overHTTP(sources []outcomeSource) bool {
	return len(sources) == 0 || slices.ContainsFunc(sources, func(s outcomeSource) bool {
		scheme, _, _ := strings.Cut(s.URI, ":")
		return scheme == "docker" || scheme == "https" || scheme == "http"
	})
}

// report says on stderr what went wrong and returns the exit code. Before the
// last line, which says what to do, stands a line for every source tried.
func (a *app) report(ctx context.Context, err error) int {
	out := classify(ctx, err, a.flags.offline)
	if a.flags.json {
		b, merr := json.Marshal(out)
		if merr != nil {
			b = []byte(`{"error":"an error that can't be written as JSON","code":1,"sources":[]}`)
		}
		fmt.Fprintf(a.stderr, "%s\n", b)
		return out.Code
	}
	fmt.Fprintf(a.stderr, "waybill: %s\n", out.Error)
	for _, s := range out.Sources {
		if line := s.URI + ": " + s.Error; line != out.Error {
			fmt.Fprintf(a.stderr, "  %s\n", line)
		}
	}
	fmt.Fprintf(a.stderr, "waybill: %s\n", out.Hint)
	return out.Code
}

// oneLine makes one harmless line of a message that may quote remote data.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
}
