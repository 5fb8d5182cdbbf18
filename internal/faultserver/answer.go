package faultserver

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"
)

// answer is the answering of one request.
type answer struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	conn    *conn
	blob    Blob // the zero Blob where there is none
	fault   Fault
	entry   *entry
	request uint64 // the number of the request
	pacer   pacer
	left    int64 // body bytes until the fault shows
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == StatsPath {
		s.serveStats(w)
		return
	}
	blob, found := s.find(r.URL.Path)
	asked, outcome := rangeAsked(r, etag(blob), blob.Size)
	e, number := s.ledger.enter(r, blob, asked)
	defer s.ledger.done(e)
	a := &answer{
		server: s, w: w, r: r, ctx: r.Context(), conn: connOf(r.Context()),
		blob: blob, fault: s.faultFor(blob, r), entry: e, request: number,
		left: math.MaxInt64,
	}
	own := &bucket{}
	own.setRate(a.fault.Rate)
	a.pacer.buckets = []*bucket{&s.rate, &a.conn.rate, own}
	if a.before() {
		return
	}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		a.empty(http.StatusMethodNotAllowed)
	case r.URL.Path == "/v2/" || r.URL.Path == "/v2":
		a.ping()
	case !found:
		a.empty(http.StatusNotFound)
	default:
		a.content(asked, outcome)
	}
}

func etag(blob Blob) string { return strconv.Quote(blob.Digest.String()) }

// before plays the faults that come in place of an answer, and reports whether
// there was one.
func (a *answer) before() bool {
	if a.fault.Reset == ResetRequest {
		a.abortWithReset()
	}
	if a.fault.StallHeaders {
		<-a.ctx.Done()
		panic(http.ErrAbortHandler)
	}
	if d := a.server.latency + a.fault.Latency; d > 0 && sleep(a.ctx, d) != nil {
		panic(http.ErrAbortHandler)
	}
	if a.fault.Reset == ResetHeaders {
		a.resetInHeaders()
	}
	if a.fault.Redirect != nil {
		return a.redirect(*a.fault.Redirect)
	}
	if a.fault.Status != 0 {
		a.refuse()
		return true
	}
	return false
}

// abortWithReset ends the handler and resets its connection.
func (a *answer) abortWithReset() {
	a.conn.reset()
	panic(http.ErrAbortHandler)
}

// resetInHeaders sends half a header and resets the connection. It writes past
// net/http, which only sends whole ones.
func (a *answer) resetInHeaders() {
	io.WriteString(a.conn, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-str")
	a.abortWithReset()
}

// redirect sends the redirection there is to send, and reports whether there
// was one: the last hop of a chain within the server isn't redirected.
func (a *answer) redirect(to Redirect) bool {
	location := *a.r.URL
	query := location.Query()
	hop, _ := strconv.Atoi(query.Get("hop"))
	switch {
	case to.Hops < 0 || hop < to.Hops:
		query.Set("hop", strconv.Itoa(hop+1))
	case to.To != "":
		query.Del("hop")
	case to.Hops > 0:
		return false
	}
	location.RawQuery = query.Encode()
	base := a.server.URL()
	if !query.Has("hop") && to.To != "" {
		base = to.To
	}
	a.w.Header().Set("Location", base+location.RequestURI())
	if to.Status == 0 {
		to.Status = http.StatusTemporaryRedirect
	}
	a.empty(to.Status)
	return true
}

// refuse sends Fault.Status.
func (a *answer) refuse() {
	h := a.w.Header()
	if d := a.fault.RetryAfter; d > 0 {
		seconds := (d + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.Itoa(int(seconds)))
		if a.fault.RetryAfterDate {
			h.Set("Retry-After", time.Now().Add(seconds*time.Second).UTC().Format(http.TimeFormat))
		}
	}
	if a.fault.Challenge != "" {
		h.Set("WWW-Authenticate", a.fault.Challenge)
	}
	if a.fault.Status == http.StatusRequestedRangeNotSatisfiable && a.blob.Digest != "" {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", a.blob.Size))
	}
	a.empty(a.fault.Status)
}

// empty answers status without content.
func (a *answer) empty(status int) {
	if status != http.StatusNotModified {
		a.w.Header().Set("Content-Length", "0")
	}
	a.header(status)
}

func (a *answer) header(status int) {
	a.server.ledger.answered(a.entry, status)
	a.w.WriteHeader(status)
}

// ping answers at /v2/ (distribution-spec, end-1).
func (a *answer) ping() {
	const body = "{}"
	a.w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	a.w.Header().Set("Content-Type", "application/json")
	a.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	a.header(http.StatusOK)
	if a.r.Method == http.MethodGet {
		a.write([]byte(body))
	}
}

// content answers with bytes of the blob.
func (a *answer) content(asked span, outcome rangeOutcome) {
	h := a.w.Header()
	h.Set("Docker-Content-Digest", a.blob.Digest.String())
	h.Set("ETag", etag(a.blob))
	h.Set("Accept-Ranges", "bytes")
	if a.r.Header.Get("If-None-Match") == etag(a.blob) {
		a.empty(http.StatusNotModified)
		return
	}
	if outcome == rangeSatisfiable {
		asked, outcome = a.spoilRange(asked)
	}
	if outcome == rangeUnsatisfiable {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", a.blob.Size))
		a.empty(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	h.Set("Content-Type", a.blob.MediaType)
	if a.blob.MediaType == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	status := http.StatusOK
	if outcome == rangeSatisfiable {
		status = http.StatusPartialContent
		if a.fault.Ranges == RangesMultipart {
			a.multipart(asked)
			return
		}
	}
	a.body(status, asked)
}

// spoilRange plays the faults of ranges on the header, and returns what is sent
// and how.
func (a *answer) spoilRange(asked span) (span, rangeOutcome) {
	contentRange := ""
	switch a.fault.Ranges {
	case RangesIgnored:
		return span{0, a.blob.Size}, rangeIgnored
	case RangesUnsatisfiable:
		return span{}, rangeUnsatisfiable
	case RangesMissing, RangesMultipart:
		return asked, rangeSatisfiable
	case RangesOther:
		asked = asked.other(a.blob.Size)
		contentRange = asked.contentRange(a.blob.Size)
	case RangesMalformed:
		contentRange = fmt.Sprintf("bytes %d to %d", asked.offset, asked.offset+asked.length-1)
	case RangesWrongTotal:
		contentRange = asked.contentRange(a.blob.Size + 1)
	case RangesServed:
		contentRange = asked.contentRange(a.blob.Size)
	}
	a.w.Header().Set("Content-Range", contentRange)
	return asked, rangeSatisfiable
}

// body sends the headers and bytes of an answer that isn't multipart.
func (a *answer) body(status int, s span) {
	h := a.w.Header()
	length := s.length
	switch a.fault.Body {
	case BodyShort, BodyStall:
		a.left = a.fault.After
	case BodyTruncated:
		length = min(length, a.fault.After)
		s.length = length
	}
	if a.fault.Reset == ResetBody {
		a.left = a.fault.After
	}
	if a.fault.Gzip {
		h.Set("Content-Encoding", "gzip")
	} else if a.fault.Body != BodyEndless {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	a.header(status)
	if a.r.Method == http.MethodHead {
		return
	}
	var out io.Writer = writerFunc(a.write)
	if a.fault.Gzip {
		out = gzip.NewWriter(out)
	}
	if a.send(out, s) != nil {
		return // The client has gone, or the server died.
	}
	if a.fault.Body == BodyEndless {
		io.Copy(out, io.NewSectionReader(Random(a.request), 0, math.MaxInt64))
	}
	if zipped, ok := out.(*gzip.Writer); ok {
		zipped.Close()
	}
	if a.left == 0 {
		a.breakOff()
	}
}

// multipart sends one range as multipart/byteranges (RFC 9110 §14.6).
func (a *answer) multipart(s span) {
	parts := multipart.NewWriter(writerFunc(a.write))
	h := a.w.Header()
	part := textproto.MIMEHeader{
		"Content-Type":  {h.Get("Content-Type")},
		"Content-Range": {s.contentRange(a.blob.Size)},
	}
	h.Set("Content-Type", "multipart/byteranges; boundary="+parts.Boundary())
	a.header(http.StatusPartialContent)
	out, err := parts.CreatePart(part)
	if err != nil {
		return // The client has gone.
	}
	if a.send(out, s) == nil {
		parts.Close()
	}
}
