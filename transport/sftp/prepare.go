package sftp

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// questioned is the key of a context's func() that is told when the user is
// asked something for it.
type questioned struct{}

// telling returns a function that asks with ask and tells the context's
// questioned of it.
func telling(ask openssh.AskFunc) openssh.AskFunc {
	return func(ctx context.Context, prompt string) ([]byte, error) {
		if tell, ok := ctx.Value(questioned{}).(func()); ok {
			tell()
		}
		return ask(ctx, prompt)
	}
}

// Prepare implements [transport.Preparer]: it connects to the host and logs in,
// so that passphrases and passwords are asked for now. The connection is kept
// for what is read first. Where there is nobody to ask it does nothing. A host
// that takes longer than five seconds, without a question, is left to go on by
// itself: others needn't wait for it.
func (t *Transport) Prepare(ctx context.Context, uri string) error {
	p, err := parse(uri)
	if err != nil {
		return err
	}
	if !t.mayAsk() {
		return nil
	}
	asked := make(chan struct{})
	ctx = context.WithValue(ctx, questioned{}, sync.OnceFunc(func() { close(asked) }))
	outcome := make(chan error, 1)
	go func() {
		c, _, err := t.pool.acquire(ctx, p.target)
		if err == nil {
			c.release()
		}
		outcome <- err
	}()
	enough := time.NewTimer(t.patience)
	defer enough.Stop()
	select {
	case err := <-outcome:
		return err
	case <-asked:
		return <-outcome
	case <-enough.C:
		return nil
	}
}
