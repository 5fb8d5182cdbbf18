package follow

import (
	"context"
	"errors"

	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/resolve"
)

// First asks one target after the other until one gives the image, and returns
// which did. The answer rests on the word of by, who named them, and then of who
// has it. ignored is told of each that gives none. If none does, the error is the
// first failure of one that might have had it; where there is no such, that it isn't
// there.
func (c *Client) First(ctx context.Context, targets []target.Target, by resolve.Testimony, want Request, ignored func(i int, err error)) (r resolve.Resolution, which int, err error) {
	var failure error
	for i, t := range targets {
		found, err := c.Resolve(ctx, t, want)
		if err == nil {
			found.By.Also = append(found.By.Also, found.By)
			found.By.Resolver, found.By.URI, found.By.Time = by.Resolver, by.URI, by.Time
			return found, i, nil
		}
		if ctx.Err() != nil {
			return resolve.Resolution{}, 0, context.Cause(ctx)
		}
		ignored(i, err)
		if failure == nil || errors.Is(failure, resolve.ErrNotFound) && !errors.Is(err, resolve.ErrNotFound) {
			failure = err
		}
	}
	return resolve.Resolution{}, 0, failure
}
