package resolve

import (
	"context"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// StoreName is what policies call the resolver [Store].
const StoreName = "store"

// Witness is somebody who may be asked what a name means.
type Witness struct {
	// Name is what policies call the resolver: "registry", "mirrors", "store".
	Name string
	// URI is who is asked, where that is known beforehand.
	URI      string
	Resolver Resolver
}

// First is a Resolver that asks one after the other until there is an answer.
// Who doesn't know the name, and who can't be asked, has the next one asked; a
// refusal by policy ([transport.ErrRefused]) is final.
type First struct {
	// Witnesses are in the order in which they are asked.
	Witnesses []Witness
	// Attempt is how long each but the last one may take.
	Attempt Patience
	// Note, when set, is told of each who had no answer and has another after
	// it.
	Note func(where, text string)
}

// Resolve implements [Resolver]. Without an answer the error is the first
// failure of one who might have known the name; where there is none, that the
// name isn't known. That there is nobody to ask is [transport.ErrRefused].
func (f First) Resolve(ctx context.Context, n name.Name, known ocispec.Descriptor) (Resolution, error) {
	var failure error = transport.Errorf(transport.ErrRefused, n.String(), "the configuration leaves nobody to ask what it means")
	for i, w := range f.Witnesses {
		last := i == len(f.Witnesses)-1
		got, err := f.ask(ctx, w, n, known, last)
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return Resolution{}, context.Cause(ctx)
		case errors.Is(err, transport.ErrRefused):
			return Resolution{}, err
		case i == 0 || errors.Is(failure, ErrNotFound) && !errors.Is(err, ErrNotFound):
			failure = err
		}
		if f.Note != nil && !last {
			f.Note(w.where(), fmt.Sprintf("no answer for %s: %v", n.Familiar(), err))
		}
	}
	return Resolution{}, failure
}

func (f First) ask(ctx context.Context, w Witness, n name.Name, known ocispec.Descriptor, last bool) (Resolution, error) {
	if last {
		return w.Resolver.Resolve(ctx, n, known)
	}
	limited, cancel := f.Attempt.Limit(ctx, w.where())
	defer cancel()
	got, err := w.Resolver.Resolve(limited, n, known)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = context.Cause(limited)
	}
	return got, err
}

// where names the witness for people.
func (w Witness) where() string {
	if w.URI != "" {
		return w.URI
	}
	return w.Name
}
