package s3

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// maybeMissing is a refusal that S3 also gives for objects that aren't there.
// Whoever tries several names, as package filetree does, goes on to the next.
type maybeMissing struct{ refusal *transport.Error }

func (e *maybeMissing) Error() string   { return e.refusal.Error() }
func (e *maybeMissing) Unwrap() []error { return []error{e.refusal, transport.ErrNotFound} }

// plain returns err as it is shown to callers: a refusal is a refusal.
func plain(err error) error {
	var m *maybeMissing
	if errors.As(err, &m) {
		return m.refusal
	}
	return err
}

// explain returns the error for a refusal; err is what the client made of it.
func (r *request) explain(refusal *answer, err error) error {
	e := &transport.Error{Kind: transport.ErrPermanent, URI: r.place.shownURI(r.key)}
	var byStatus *transport.Error
	if errors.As(err, &byStatus) {
		e.Kind, e.RetryAfter = byStatus.Kind, byStatus.RetryAfter
	}
	e.Kind = refusal.kind(e.Kind)
	e.Err = errors.New(r.reason(refusal, e.Kind))
	if e.Kind == transport.ErrUnauthorized && refusal.ambiguous() {
		return &maybeMissing{e}
	}
	return e
}

// reason says what a refusal is about and what to do, with the server's own
// words at the end.
func (r *request) reason(refusal *answer, kind error) string {
	host, said := r.endpoint.Host, refusal.said()
	switch refusal.code {
	case "NoSuchBucket":
		return fmt.Sprintf("no bucket %q at %s (%s)", r.place.bucket, host, said)
	case "InvalidObjectState":
		return fmt.Sprintf("archived; restore the object first (%s)", said)
	}
	status := refusal.status.Code
	switch {
	case status == http.StatusRequestedRangeNotSatisfiable:
		if size := objectSize(refusal); size >= 0 && r.size >= 0 && size != r.size {
			return fmt.Sprintf("has %d bytes, want %d", size, r.size)
		}
	case status >= 300 && status < 400:
		return r.redirected(refusal)
	case kind == transport.ErrUnauthorized:
		return r.denied(refusal)
	case kind == transport.ErrNotFound:
		return fmt.Sprintf("no such object at %s (%s)", host, said)
	}
	return fmt.Sprintf("%s answered %s", host, said)
}

// denied says why the server lets us not in.
func (r *request) denied(refusal *answer) string {
	said := refusal.said()
	if !r.signed {
		why := "no AWS credentials were found in the environment and the shared files"
		switch {
		case r.place.anonymous:
			why = "anonymous=true asks for none"
		case r.fixed["machine"]:
			why += ", and the machine's metadata service has none either"
		}
		return fmt.Sprintf("refused to an anonymous request; %s. S3 says the same where there is no such object and listing isn't allowed (%s)", why, said)
	}
	source := r.account.source(r.creds)
	switch refusal.code {
	case "ExpiredToken", "TokenRefreshRequired":
		return fmt.Sprintf("the credentials of %s have expired; renew them (%s)", source, said)
	case "InvalidToken":
		return fmt.Sprintf("the session token of %s is not valid here; renew the credentials (%s)", source, said)
	case "InvalidAccessKeyId", "XAdminUserNotFound":
		return fmt.Sprintf("%s doesn't know the access key of %s (%s)", r.endpoint.Host, source, said)
	case "SignatureDoesNotMatch":
		return fmt.Sprintf("the secret key of %s does not belong to its access key (%s)", source, said)
	case "RequestTimeTooSkewed":
		if skew, ok := refusal.skew(time.Now()); ok {
			return fmt.Sprintf("this machine's clock and that of %s are %v apart; set the clock (%s)", r.endpoint.Host, skew.Abs().Round(time.Minute), said)
		}
		return fmt.Sprintf("this machine's clock differs from that of %s; set the clock (%s)", r.endpoint.Host, said)
	}
	if refusal.ambiguous() {
		return fmt.Sprintf("refused with the credentials of %s. S3 says the same where there is no such object and they don't allow listing (%s)", source, said)
	}
	return fmt.Sprintf("refused with the credentials of %s (%s)", source, said)
}

// redirected says where a redirect leads: a signature is for one host, and
// which one to sign for is the user's to say.
func (r *request) redirected(refusal *answer) string {
	if refusal.region != "" && refusal.region != r.place.region && !r.follows() {
		return fmt.Sprintf("the bucket is in region %s, and %s is not its endpoint (%s)", refusal.region, r.endpoint.Host, refusal.said())
	}
	to, err := url.Parse(refusal.status.Header.Get("Location"))
	if err != nil || to.Host == "" {
		return fmt.Sprintf("%s sends us elsewhere (%s)", r.endpoint.Host, refusal.said())
	}
	return fmt.Sprintf("%s redirects to %s; if you trust it, make that the endpoint (answered %d)",
		r.endpoint.Host, httpclient.OneLine(to.Scheme+"://"+to.Host), refusal.status.Code)
}
