package progress

import (
	"fmt"
	"slices"
	"time"
)

// patience is how long a pull runs before anything is drawn: what is over
// sooner needs no bar.
const patience = 500 * time.Millisecond

// barView draws bars on a terminal.
type barView struct {
	screen  screen
	color   bool
	start   time.Time
	picture []line
}

func (v *barView) update(s Snapshot, p pace) {
	if s.Time.Sub(v.start) < patience {
		return
	}
	columns, rows := v.screen.size()
	v.picture = picture(s, p, columns, rows, v.color)
	v.screen.draw(nil, v.picture)
}

func (v *barView) event(e Event) {
	v.screen.draw([]line{{styled: eventLine(e)}}, v.picture)
}

func (v *barView) close(s Snapshot, p pace) {
	var lines []line
	for _, text := range report(s, p) {
		lines = append(lines, line{styled: text})
	}
	v.screen.draw(lines, nil)
}

// line is a line of text and the columns it takes without its colours.
type line struct {
	styled string
	width  int
}

// picture is what is shown of a snapshot: the total, then the blobs that are
// being fetched, then the sources.
func picture(s Snapshot, p pace, columns, rows int, color bool) []line {
	// The last column stays free: terminals differ in what erasing the rest
	// of a full line does. So does the last row, where the cursor rests.
	style := styler{columns: max(1, columns-1), color: color}
	lines := []line{style.line(totalCells(s, p))}
	blobs, hidden := activeBlobs(s.Blobs)
	room := max(0, rows-1-len(lines))
	blobLines := len(blobs)
	if hidden > 0 {
		blobLines++
	}
	sourceRoom := min(len(s.Sources), max(room/2, room-blobLines))
	lines = append(lines, style.blobLines(blobs, hidden, room-sourceRoom)...)
	return append(lines, style.sourceLines(s.Sources, sourceRoom)...)
}

// activeBlobs are those worth a line, and the number of those that have yet to
// come.
func activeBlobs(blobs []Blob) (active []Blob, waiting int) {
	for _, b := range blobs {
		switch b.State {
		case BlobFetching, BlobVerifying, BlobFailed:
			active = append(active, b)
		case BlobWaiting:
			waiting++
		}
	}
	return active, waiting
}

// totalCells is the first line.
func totalCells(s Snapshot, p pace) []cell {
	eta := ""
	if p.eta >= 0 {
		eta = "ETA " + formatDuration(p.eta)
	}
	return []cell{
		{text: cut(clean(s.Name), 40), drop: 4},
		{text: clean(s.Phase), drop: 6},
		{bar: true, done: percent(s.Done, s.Size), drop: 3, style: green},
		{text: pad(fmt.Sprintf("%d%%", percent(s.Done, s.Size)), -4)},
		{text: FormatBytes(s.Done) + " / " + FormatBytes(s.Size), drop: 5},
		{text: pad(formatRate(p.rate), -10), drop: 1},
		{text: pad(eta, 10), drop: 2},
	}
}

// blobLines are those of the blobs, in at most room lines.
func (st styler) blobLines(blobs []Blob, more, room int) []line {
	if len(blobs) > room || more > 0 && len(blobs) == room {
		keep := max(0, room-1)
		more += len(blobs) - keep
		blobs = blobs[:keep]
	}
	var lines []line
	for _, b := range blobs {
		lines = append(lines, st.line(blobCells(b)))
	}
	return st.appendMore(lines, more, plural(more, "blob"), room)
}

func blobCells(b Blob) []cell {
	style := plain
	if b.State == BlobFailed {
		style = red
	}
	cells := []cell{
		{text: "  " + shortEncoded(b.Digest)},
		{text: pad(clean(string(b.State)), len(BlobVerifying)), drop: 2, style: style},
	}
	if b.Size < 0 {
		return append(cells, cell{text: FormatBytes(b.Done), drop: 1})
	}
	return append(cells,
		cell{bar: true, done: percent(b.Done, b.Size), drop: 1},
		cell{text: pad(fmt.Sprintf("%d%%", percent(b.Done, b.Size)), -4)},
		cell{text: pad(FormatBytes(b.Done)+" / "+FormatBytes(b.Size), -19), drop: 3})
}

// sourceLines are those of the sources, in at most room lines. Where there are
// more, those that matter most are kept, in their order.
func (st styler) sourceLines(sources []Source, room int) []line {
	more := 0
	if len(sources) > room {
		keep := max(0, room-1)
		more = len(sources) - keep
		sources = mostTelling(sources, keep)
	}
	// A column of one width reads best, but never more than two fifths.
	uri := 0
	for _, s := range sources {
		uri = max(uri, width(clean(s.URI)))
	}
	uri = min(uri, max(8, st.columns*2/5))
	var lines []line
	for _, s := range sources {
		lines = append(lines, st.line(sourceCells(s, uri)))
	}
	return st.appendMore(lines, more, plural(more, "source"), room)
}

func sourceCells(s Source, uri int) []cell {
	cells := []cell{
		{text: "  " + pad(cut(clean(s.URI), uri), uri)},
		{text: pad(formatRate(s.BytesPerSecond), -10), drop: 1},
		{text: pad(FormatBytes(s.Bytes), -8), drop: 3},
		{text: clean(string(s.Status)), drop: 2, style: statusStyles[s.Status]},
	}
	if s.Reason != "" {
		cells[3].tail = ": " + clean(s.Reason)
	}
	if s.BytesPerSecond == 0 && s.Status != SourceActive {
		// That it is slow goes without saying; why is what matters.
		cells[1].text, cells[1].drop = pad("", 10), 4
		cells[3].drop = 0
	}
	return cells
}

// mostTelling are keep of the sources.
func mostTelling(sources []Source, keep int) []Source {
	order := []SourceStatus{SourceActive, SourceQuarantined, SourceDemoted, SourceWaiting, SourceRefused}
	rank := func(i int) int {
		if r := slices.Index(order, sources[i].Status); r >= 0 {
			return r
		}
		return len(order)
	}
	indexes := make([]int, len(sources))
	for i := range indexes {
		indexes[i] = i
	}
	slices.SortStableFunc(indexes, func(a, b int) int { return rank(a) - rank(b) })
	indexes = indexes[:keep]
	slices.Sort(indexes)
	kept := make([]Source, 0, keep)
	for _, i := range indexes {
		kept = append(kept, sources[i])
	}
	return kept
}

// appendMore says how many there are besides, where there is room for it.
func (st styler) appendMore(lines []line, more int, things string, room int) []line {
	if more == 0 || len(lines) >= room {
		return lines
	}
	return append(lines, st.line([]cell{{text: fmt.Sprintf("  +%d more", more), tail: " " + things, style: dim}}))
}
