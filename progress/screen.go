package progress

import (
	"fmt"
	"io"
	"strings"
)

// screen draws a picture of a few lines in place. The cursor rests at the
// beginning of the line below it and is never hidden, so the terminal is in
// order whenever the program ends, however it does.
type screen struct {
	w     io.Writer
	size  func() (columns, rows int)
	drawn []int // the widths of the lines on the screen
}

// draw replaces the picture, having written the lines above it for good. One
// write does it all, so that nothing flickers.
func (s *screen) draw(above, picture []line) {
	var b strings.Builder
	columns, rows := s.size()
	if up := s.height(columns, rows); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", up)
	}
	erase := len(s.drawn) > 0
	if erase && len(above) > 0 {
		// These may be wider than the terminal, so the old picture has to
		// go first.
		b.WriteString("\x1b[J")
	}
	for _, l := range above {
		b.WriteString(l.styled + "\n")
	}
	s.drawn = s.drawn[:0]
	for _, l := range picture {
		b.WriteString(l.styled + "\x1b[K\n")
		s.drawn = append(s.drawn, l.width)
	}
	if erase {
		b.WriteString("\x1b[J")
	}
	io.WriteString(s.w, b.String())
}

// height is the number of rows the picture takes now: where the terminal has
// become narrower it has wrapped the lines.
func (s *screen) height(columns, rows int) int {
	height := 0
	for _, width := range s.drawn {
		height += max(1, (width+columns-1)/columns)
	}
	return min(height, rows-1)
}
