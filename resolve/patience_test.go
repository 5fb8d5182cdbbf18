package resolve_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
)

// hour is longer than any test: what it limits isn't what ends.
const hour = time.Hour

func get(ctx context.Context, t *testing.T, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// A server that takes the connection and says no more is what ends patience,
// also beside one that has answered, over TLS or not.
func TestPatienceEndsInSilence(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	alive := httptest.NewServer(http.NotFoundHandler())
	defer alive.Close()
	for what, url := range map[string]string{"http": "http://" + mute.Addr().String(), "https": "https://" + mute.Addr().String()} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := resolve.Patience{Silence: 20 * time.Millisecond, Whole: hour}.Limit(t.Context(), "here")
			defer cancel()
			done := make(chan error)
			go func() { done <- get(ctx, t, url) }()
			if err := get(ctx, t, alive.URL); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if err := <-done; err == nil {
				t.Error("an answer")
			}
			if err := context.Cause(ctx); !errors.Is(err, transport.ErrTemporary) || err.Error() != "here: no answer in 20ms" {
				t.Errorf("it ended for %v", err)
			}
		})
	}
}

// Silence is between the steps of a request: while an answer is read, and until
// the next request, it doesn't run.
func TestPatienceOutlastsSilence(t *testing.T) {
	const most = time.Second
	for what, test := range map[string]struct {
		steps func(*httptrace.ClientTrace)
		ends  bool
	}{
		"nothing at all":         {func(*httptrace.ClientTrace) {}, true},
		"a request":              {func(r *httptrace.ClientTrace) { r.GetConn("") }, true},
		"a connection":           {func(r *httptrace.ClientTrace) { r.GetConn(""); r.ConnectDone("", "", nil) }, true},
		"an answer":              {func(r *httptrace.ClientTrace) { r.GetConn(""); r.GotFirstResponseByte() }, false},
		"the next request":       {func(r *httptrace.ClientTrace) { r.GetConn(""); r.GotFirstResponseByte(); r.GetConn("") }, true},
		"one answer for two":     {func(r *httptrace.ClientTrace) { r.GetConn(""); r.GetConn(""); r.GotFirstResponseByte() }, true},
		"no TLS, then an answer": {noTLS, false},
		"a late connection":      {func(r *httptrace.ClientTrace) { noTLS(r); r.ConnectDone("", "", nil) }, false},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := resolve.Patience{Silence: most}.Limit(t.Context(), "here")
				defer cancel()
				time.Sleep(most - 1)
				test.steps(httptrace.ContextClientTrace(ctx))
				time.Sleep(most - 1)
				synctest.Wait()
				if what != "nothing at all" && ctx.Err() != nil {
					t.Fatalf("it ended early: %v", context.Cause(ctx))
				}
				time.Sleep(2 * time.Nanosecond)
				synctest.Wait()
				if ended := ctx.Err() != nil; ended != test.ends {
					t.Errorf("ended: %v", ended)
				}
			})
		})
	}
}

// noTLS is a host that is asked again without.
func noTLS(r *httptrace.ClientTrace) {
	r.GetConn("")
	r.TLSHandshakeDone(tls.ConnectionState{}, errors.New("no TLS"))
	r.GetConn("")
	r.GotFirstResponseByte()
}

// However much is heard, there is an end.
func TestPatienceEndsInAll(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer endless.Close()
	ctx, cancel := resolve.Patience{Silence: hour, Whole: 50 * time.Millisecond}.Limit(t.Context(), "here")
	defer cancel()
	if err := get(ctx, t, endless.URL); err == nil {
		t.Error("an answer")
	}
	if err := context.Cause(ctx); err == nil || err.Error() != "here: no answer in 50ms" {
		t.Errorf("it ended for %v", err)
	}
}
