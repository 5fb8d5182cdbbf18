package objectstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// issuer is where tokens come from: it answers when it is let.
type issuer struct {
	asked   atomic.Int64
	begun   chan struct{} // one for each fetch
	answers chan answer
}

type answer struct {
	token objectstore.Token
	err   error
}

func newIssuer() *issuer {
	return &issuer{begun: make(chan struct{}, 100), answers: make(chan answer, 100)}
}

func (i *issuer) fetch(ctx context.Context) (objectstore.Token, error) {
	i.asked.Add(1)
	i.begun <- struct{}{}
	select {
	case a := <-i.answers:
		return a.token, a.err
	case <-ctx.Done():
		return objectstore.Token{}, ctx.Err()
	}
}

func lasting(value string, d time.Duration) answer {
	return answer{token: objectstore.Token{Value: value, Expires: time.Now().Add(d)}}
}

func TestTokenIsKeptUntilItNearlyExpires(t *testing.T) {
	tests := []struct {
		name  string
		first answer
		asked int64
		again string
	}{
		{"an hour", lasting("a", time.Hour), 1, "a"},
		{"half a minute", lasting("a", 30*time.Second), 2, "b"},
		{"expired", lasting("a", -time.Hour), 2, "b"},
		{"nobody", answer{token: objectstore.Nobody()}, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newIssuer()
			i.answers <- tt.first
			i.answers <- lasting("b", time.Hour)
			tokens := objectstore.NewTokens(i.fetch)
			if got, err := tokens.Get(t.Context()); err != nil || got != tt.first.token.Value {
				t.Fatalf("first: %q, %v", got, err)
			}
			if got, err := tokens.Get(t.Context()); err != nil || got != tt.again {
				t.Errorf("again: %q, %v; want %q", got, err, tt.again)
			}
			if got := i.asked.Load(); got != tt.asked {
				t.Errorf("fetched %d times, want %d", got, tt.asked)
			}
		})
	}
}

func TestTokenIsFetchedOnceForAll(t *testing.T) {
	i := newIssuer()
	tokens := objectstore.NewTokens(i.fetch)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if got, err := tokens.Get(t.Context()); err != nil || got != "a" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	<-i.begun
	i.answers <- lasting("a", time.Hour)
	all.Wait()
	if got := i.asked.Load(); got != 1 {
		t.Errorf("fetched %d times", got)
	}
}

func TestFailureIsToldToAllAndPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		refused := errors.New("refused")
		i.answers <- answer{err: refused}
		tokens := objectstore.NewTokens(i.fetch)
		for range 3 {
			if _, err := tokens.Get(t.Context()); !errors.Is(err, refused) {
				t.Errorf("error %v, want %v", err, refused)
			}
		}
		if got := i.asked.Load(); got != 1 {
			t.Errorf("fetched %d times", got)
		}
		time.Sleep(11 * time.Second)
		i.answers <- lasting("a", time.Hour)
		if got, err := tokens.Get(t.Context()); err != nil || got != "a" {
			t.Errorf("later: %q, %v", got, err)
		}
	})
}

func TestFetchThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := objectstore.NewTokens(newIssuer().fetch)
		_, err := tokens.Get(t.Context())
		if !errors.Is(err, transport.ErrTemporary) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOneWhoLeavesDoesNotTakeTheTokenFromOthers(t *testing.T) {
	i := newIssuer()
	tokens := objectstore.NewTokens(i.fetch)
	leaver, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := tokens.Get(leaver)
		left <- err
	}()
	<-i.begun
	stays := make(chan error)
	go func() {
		got, err := tokens.Get(t.Context())
		if got != "a" {
			t.Errorf("the one who stays got %q", got)
		}
		stays <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: %v", err)
	}
	i.answers <- lasting("a", time.Hour)
	if err := <-stays; err != nil {
		t.Errorf("who stays: %v", err)
	}
}

func TestFetchForNobodyIsCancelled(t *testing.T) {
	ended := make(chan error)
	begun := make(chan struct{})
	tokens := objectstore.NewTokens(func(ctx context.Context) (objectstore.Token, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return objectstore.Token{}, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := tokens.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the fetch ended with %v", err)
	}
}
