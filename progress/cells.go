package progress

import (
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
)

// style is an SGR parameter (ECMA-48 §8.3.117).
type style string

const (
	plain  style = ""
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

var statusStyles = map[SourceStatus]style{
	SourceActive:      green,
	SourceWaiting:     yellow,
	SourceDemoted:     yellow,
	SourceQuarantined: red,
	SourceRefused:     red,
	SourceUnused:      dim,
}

// cell is a part of a line.
type cell struct {
	text  string
	tail  string // follows text, as much of it as there is room for
	bar   bool   // a bar done percent full, as wide as there is room for
	done  int
	drop  int // where room is short the highest goes first; 0 never goes
	style style
}

const (
	minBar  = 7
	maxBar  = 40
	minTail = 6 // less of a tail says nothing
)

// least is the fewest columns the cell makes sense in.
func (c cell) least() int {
	if c.bar {
		return minBar
	}
	return width(c.text)
}

// render is the cell's text with up to spare columns more than the least.
func (c cell) render(spare int) string {
	switch {
	case c.bar:
		return drawBar(min(minBar+spare, maxBar), c.done)
	case width(c.tail) <= spare:
		return c.text + c.tail
	case spare < minTail:
		return c.text
	default:
		return c.text + runewidth.Truncate(c.tail, spare, "..")
	}
}

// styler lays cells out in lines of at most so many columns.
type styler struct {
	columns int
	color   bool
}

// line lays out the cells that fit, with a space between them.
func (st styler) line(cells []cell) line {
	cells = slices.DeleteFunc(cells, func(c cell) bool { return !c.bar && c.text == "" })
	used := func() int {
		n := len(cells) - 1
		for _, c := range cells {
			n += c.least()
		}
		return n
	}
	for used() > st.columns {
		first := 0
		for i, c := range cells {
			if c.drop > cells[first].drop {
				first = i
			}
		}
		if cells[first].drop == 0 {
			break
		}
		cells = slices.Delete(cells, first, first+1)
	}
	spare := max(0, st.columns-used())
	var l line
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			if l.width+1 >= st.columns {
				break
			}
			b.WriteByte(' ')
			l.width++
		}
		text := c.render(spare)
		spare -= width(text) - c.least()
		text = cut(text, st.columns-l.width)
		b.WriteString(st.paint(text, c.style))
		l.width += width(text)
	}
	l.styled = b.String()
	return l
}

// paint gives text its colour.
func (st styler) paint(text string, s style) string {
	if !st.color || s == plain {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// drawBar is a bar of so many columns.
func drawBar(columns, percent int) string {
	inner := columns - 2
	full := inner * min(100, max(0, percent)) / 100
	bar := strings.Repeat("=", full)
	if full > 0 && full < inner {
		bar = bar[1:] + ">"
	}
	return "[" + pad(bar, inner) + "]"
}
