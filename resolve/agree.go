package resolve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// ErrDisagree: those who had to agree on what a name means don't.
var ErrDisagree = errors.New("no agreement")

// Agree is a Resolver for names of which nobody is believed alone: all are
// asked, at once, and have to give the same answer. One who doesn't know the
// name disagrees with one who does, but for the store: what it has no record of
// it has no opinion on.
type Agree struct {
	// Witnesses are at least two.
	Witnesses []Witness
}

// Resolve implements [Resolver]. The answer is the first one's, with the others
// in By.Also and everybody's hints. A [*DisagreementError] has all answers; where
// somebody can't be asked, that one's failure is the error. Fewer than two
// witnesses are [transport.ErrRefused].
func (a Agree) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	if len(a.Witnesses) < 2 {
		return Resolution{}, transport.Errorf(transport.ErrRefused, n.String(), "all have to agree on what it means, and there is only one to ask")
	}
	answers := make([]answer, len(a.Witnesses))
	var wg sync.WaitGroup
	for i, w := range a.Witnesses {
		wg.Go(func() {
			r, err := w.Resolver.Resolve(ctx, n, known)
			answers[i] = answer{w, r, err, time.Now()}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Resolution{}, context.Cause(ctx)
	}
	return agreed(n, answers)
}

// answer is what a witness said.
type answer struct {
	Witness
	Resolution
	err  error
	time time.Time
}

// agreed makes one answer of all, or says why there is none.
func agreed(n name.Name, all []answer) (Resolution, error) {
	var found, unknown []answer
	for _, a := range all {
		switch {
		case a.err == nil:
			found = append(found, a)
		case !errors.Is(a.err, ErrNotFound):
			return Resolution{}, fmt.Errorf("%s: all have to agree on what it means, and not all can be asked: %s: %w", n.Familiar(), a.Name, a.err)
		case a.Name != StoreName:
			unknown = append(unknown, a)
		}
	}
	if len(found) == 0 {
		return Resolution{}, all[0].err
	}
	first := found[0]
	same := len(unknown) == 0
	for _, a := range found[1:] {
		same = same && a.Descriptor.Digest == first.Descriptor.Digest
	}
	if !same {
		return Resolution{}, disagreement(n, found, unknown)
	}
	return merge(found), nil
}

// merge makes one of answers that are the same: the first, completed by what
// the others know.
func merge(found []answer) Resolution {
	r := found[0].Resolution
	by := r.By.All()
	for _, a := range found[1:] {
		by = append(by, a.By.All()...)
		r.Hints = append(r.Hints, a.Hints...)
		if r.Content == nil && a.Content != nil || r.Descriptor.Size < 0 {
			r.Content, r.Descriptor = a.Content, a.Descriptor
		}
		if r.Index == nil {
			r.Index = a.Index
		}
	}
	r.By = by[0]
	r.By.Also = by[1:]
	return r
}

// DisagreementError says who gave which answer. It is [ErrDisagree], and
// [transport.ErrRefused]: policy doesn't allow the name to be used.
type DisagreementError struct {
	// Name is what was asked about.
	Name string
	// Answers are at least two.
	Answers []Answer
}

// Answer is what one witness said.
type Answer struct {
	By Testimony
	// Digest is empty where the witness doesn't know the name.
	Digest digest.Digest
}

func disagreement(n name.Name, found, unknown []answer) *DisagreementError {
	e := &DisagreementError{Name: n.Familiar()}
	for _, a := range found {
		for _, by := range a.By.All() {
			e.Answers = append(e.Answers, Answer{by, a.Descriptor.Digest})
		}
	}
	for _, a := range unknown {
		by := Testimony{Resolver: a.Name, URI: a.URI, Time: a.time}
		var te *transport.Error
		if by.URI == "" && errors.As(a.err, &te) {
			by.URI = te.URI
		}
		e.Answers = append(e.Answers, Answer{By: by})
	}
	return e
}

// Error returns one line with every answer: who gave it, and when.
func (e *DisagreementError) Error() string {
	answers := make([]string, len(e.Answers))
	for i, a := range e.Answers {
		answers[i] = a.String()
	}
	return fmt.Sprintf("%s: %v on what it means: %s", e.Name, ErrDisagree, strings.Join(answers, "; "))
}

// Unwrap returns what kind of error it is.
func (e *DisagreementError) Unwrap() []error { return []error{ErrDisagree, transport.ErrRefused} }

// Says returns what was said, by which protocol and when.
func (a Answer) Says() string {
	says := "doesn't know it"
	if a.Digest != "" {
		says = "says " + a.Digest.String()
	}
	return fmt.Sprintf("%s (%s, %s)", says, a.By.Resolver, a.By.Time.UTC().Format(time.RFC3339))
}

// String returns who said what.
func (a Answer) String() string {
	if a.By.URI == "" {
		return a.By.Resolver + " " + a.Says()
	}
	return transport.Redact(a.By.URI) + " " + a.Says()
}
