package progress

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Mode is a way to show progress. It is a value for a command-line flag.
type Mode string

// The modes.
const (
	Auto  Mode = "auto"  // Bar on a terminal, else Plain
	Bar   Mode = "bar"   // bars redrawn in place
	Plain Mode = "plain" // lines, for logs
	JSON  Mode = "json"  // one JSON object a line
	None  Mode = "none"  // nothing
)

var modes = []Mode{Auto, Bar, Plain, JSON, None}

// Set makes m the mode of that name.
func (m *Mode) Set(name string) error {
	var names []string
	for _, mode := range modes {
		if name == string(mode) {
			*m = mode
			return nil
		}
		names = append(names, string(mode))
	}
	return fmt.Errorf("progress mode %q is unknown; use %s", name, strings.Join(names, ", "))
}

// String is the mode's name.
func (m *Mode) String() string { return string(*m) }

// Type is the word for a mode in a command's usage.
func (m *Mode) Type() string { return "mode" }

// Options adapts a [Renderer]; the zero Options suits a program's stderr.
type Options struct {
	// Interval is the time between updates of [Renderer.Run]; zero is 200 ms
	// for bars, 5 s for plain lines and 1 s for JSON.
	Interval time.Duration
	// Size is the terminal's, in columns and rows, asked anew for every
	// picture; nil asks the terminal.
	Size func() (columns, rows int)
	// NoColor leaves colours out. They are only ever used for bars, and not
	// where the environment has NO_COLOR (https://no-color.org).
	NoColor bool
	// Env is where NO_COLOR and TERM are read; nil is os.Getenv.
	Env func(string) string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Renderer shows one pull. Its methods are safe for concurrent use. What can't
// be written is lost without an error: progress is no reason to fail.
type Renderer struct {
	interval time.Duration
	now      func() time.Time

	mu     sync.Mutex
	view   view
	meter  meter
	seen   map[Event]bool
	closed bool
}

// view is how a mode shows things. Calls don't overlap.
type view interface {
	update(Snapshot, pace)
	event(Event)
	close(Snapshot, pace)
}

// New returns a renderer that writes to w.
func New(mode Mode, w io.Writer, opts Options) *Renderer {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Env == nil {
		opts.Env = os.Getenv
	}
	terminal, isTerminal := descriptor(w)
	if opts.Size == nil {
		opts.Size = func() (int, int) { return size(terminal) }
	}
	if mode == Auto {
		mode = Plain
		if isTerminal && opts.Env("TERM") != "dumb" {
			mode = Bar
		}
	}
	r := &Renderer{interval: opts.Interval, now: opts.Now, seen: make(map[Event]bool)}
	start := opts.Now()
	usual := time.Second
	switch mode {
	case Bar:
		color := !opts.NoColor && opts.Env("NO_COLOR") == ""
		r.view = &barView{screen: screen{w: w, size: opts.Size}, color: color, start: start}
		usual = 200 * time.Millisecond
	case Plain:
		r.view = &plainView{w: w}
		usual = 5 * time.Second
	case JSON:
		r.view = &jsonView{w: w}
	default:
		r.view = noView{}
	}
	if r.interval <= 0 {
		r.interval = usual
	}
	r.meter.start = start
	return r
}

// descriptor is the file descriptor of a terminal.
func descriptor(w io.Writer) (fd int, isTerminal bool) {
	file, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return -1, false
	}
	return int(file.Fd()), true
}

// size is that of the terminal, or the traditional one where it can't be told.
func size(fd int) (columns, rows int) {
	columns, rows, err := term.GetSize(fd)
	if err != nil || columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// Run shows snapshot's result at every interval until ctx ends.
func (r *Renderer) Run(ctx context.Context, snapshot func() Snapshot) {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.Update(snapshot())
		}
	}
}

// Update shows s now.
func (r *Renderer) Update(s Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	s = r.prepare(s)
	r.view.update(s, r.meter.pace(s))
}

// maxSeen is how many events are remembered in order not to repeat them.
const maxSeen = 1000

// Event shows e, unless just the same was shown before.
func (r *Renderer) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := e
	key.Time = time.Time{}
	if r.closed || r.seen[key] {
		return
	}
	if len(r.seen) >= maxSeen {
		clear(r.seen)
	}
	r.seen[key] = true
	if e.Time.IsZero() {
		e.Time = r.now()
	}
	e.Source = shown(e.Source)
	r.view.event(e)
}

// Close shows how the pull ended, and leaves the terminal in order. The
// renderer shows nothing afterwards.
func (r *Renderer) Close(final Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	final = r.prepare(final)
	r.view.close(final, r.meter.pace(final))
}

// prepare fills in the time and makes the sources fit to be shown.
func (r *Renderer) prepare(s Snapshot) Snapshot {
	if s.Time.IsZero() {
		s.Time = r.now()
	}
	sources := make([]Source, len(s.Sources))
	for i, source := range s.Sources {
		sources[i] = source
		sources[i].URI = shown(source.URI)
		// Neither a line nor JSON has a way to write what isn't a number.
		if rate := source.BytesPerSecond; !(rate >= 0 && rate < math.MaxInt64) {
			sources[i].BytesPerSecond = 0
		}
	}
	s.Sources = sources
	r.meter.add(s.Time, s.Network)
	return s
}

// noView shows nothing.
type noView struct{}

func (noView) update(Snapshot, pace) {}
func (noView) event(Event)           {}
func (noView) close(Snapshot, pace)  {}
