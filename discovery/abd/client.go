package abd

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/webdoc"
)

// ErrBlocked ends a search at a configuration with the strategy io.abd.noop.
var ErrBlocked = errors.New("blocked by configuration")

// Options configures a [Client].
type Options struct {
	// Docs gets the metadata of io.abd.https-dns. Required.
	Docs *webdoc.Client
	// Configs are the strategies, in order. Nil means [Default].
	Configs []Config
	// Note, where set, is told of each document that was read and of each
	// document, entry and mirror that was not used, [MaxNotes] of each sort for
	// one document.
	Note func(discovery.Note)
}

// Client discovers artefacts. It is safe for concurrent use where Note is.
type Client struct {
	docs    *webdoc.Client
	configs []Config
	tell    func(discovery.Note)
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{docs: o.Docs, configs: o.Configs, tell: o.Note}
	if c.configs == nil {
		c.configs = Default()
	}
	return c
}

func (c *Client) note(n discovery.Note, format string, args ...any) {
	if c.tell != nil {
		n.Text = fmt.Sprintf(format, args...)
		c.tell(n)
	}
}

// ignore tells what isn't used of what stands at where.
func (c *Client) ignore(where, format string, args ...any) {
	c.note(discovery.Note{Where: where, Ignored: true}, format, args...)
}

// Candidate is an artefact that a strategy found.
type Candidate struct {
	Entry
	// Targets are the mirrors that can be used, in their order: all lead to
	// the same artefact.
	Targets []target.Target
	// Config is what found it.
	Config Config
	// By says who named it.
	By resolve.Testimony
}

// Discover yields what the strategies find for n, strategy by strategy. One is
// only asked when the caller wants more than those before it had. An error is
// about one strategy, and the next may follow it: [resolve.ErrNotFound] where it
// has nothing for n, or what kept it from knowing. [ErrBlocked] is the last
// thing yielded, and so is ctx's error.
func (c *Client) Discover(ctx context.Context, n Name) iter.Seq2[Candidate, error] {
	return func(yield func(Candidate, error) bool) {
		matched := false
		for _, config := range c.configs {
			if !config.Matches(n.Identifier) {
				continue
			}
			matched = true
			candidates, err := c.try(ctx, config, n)
			if err != nil {
				err = fmt.Errorf("abd %s, %s: %w", n.Identifier, config, err)
				if !yield(Candidate{}, err) || ctx.Err() != nil || errors.Is(err, ErrBlocked) {
					return
				}
			}
			for _, candidate := range candidates {
				candidate.Config = config
				if !yield(candidate, nil) {
					return
				}
			}
		}
		if !matched {
			yield(Candidate{}, fmt.Errorf("%w: abd %s: no strategy is configured for it", resolve.ErrNotFound, n.Identifier))
		}
	}
}

// try asks one strategy. It has found something, or there is an error.
func (c *Client) try(ctx context.Context, config Config, n Name) ([]Candidate, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	switch config.Strategy {
	case StrategyHTTPSDNS:
		return c.httpsDNS(ctx, n)
	case StrategyLocal:
		return c.local(config, n)
	case StrategyNFS:
		return c.nfs(config, n)
	case StrategyNoop:
		return nil, ErrBlocked
	}
	return nil, fmt.Errorf("unknown strategy %q; programs for strategies are not run", clip(config.Strategy))
}

// candidates chooses from metadata what fits n, and what of its mirrors can be
// used by the word of read.
func (c *Client) candidates(entries []Entry, n Name, by resolve.Testimony, read func(mirror string) (target.Target, error)) ([]Candidate, error) {
	var all []Candidate
	fitting, refused := 0, 0
	for _, e := range entries {
		if !e.Matches(n) {
			continue
		}
		fitting++
		candidate := Candidate{Entry: e, By: by}
		for _, mirror := range e.Mirrors {
			t, err := read(mirror)
			if err != nil {
				if refused++; refused <= MaxNotes {
					c.ignore(by.URI, "mirror %q not used: %v", target.Shown(mirror), err)
				}
				continue
			}
			candidate.Targets = append(candidate.Targets, t)
		}
		if len(candidate.Targets) > 0 {
			all = append(all, candidate)
		}
	}
	switch {
	case fitting == 0:
		return nil, fmt.Errorf("%w: %s has %d entries, none with the name and labels", resolve.ErrNotFound, by.URI, len(entries))
	case len(all) == 0:
		return nil, fmt.Errorf("%w: %s names no mirror that can be used", resolve.ErrNotFound, by.URI)
	}
	return all, nil
}
