package progress

import (
	"fmt"
	"io"
	"time"
)

// plainView writes lines for a log.
type plainView struct {
	w    io.Writer
	last string
}

func (v *plainView) update(s Snapshot, p pace) {
	here, active := 0, 0
	for _, b := range s.Blobs {
		if b.State == BlobDone || b.State == BlobCached {
			here++
		}
	}
	for _, source := range s.Sources {
		if source.Status == SourceActive {
			active++
		}
	}
	line := fmt.Sprintf("%s: %s %d%%, %s of %s, %s", clean(s.Name), clean(s.Phase), percent(s.Done, s.Size),
		FormatBytes(s.Done), FormatBytes(s.Size), formatRate(p.rate))
	if p.eta >= 0 {
		line += ", ETA " + formatDuration(p.eta)
	}
	line += fmt.Sprintf(", %d of %s, %s active", here, count(len(s.Blobs), "blob"), count(active, "source"))
	// A log that says the same again says nothing.
	if line == v.last {
		return
	}
	v.last = line
	fmt.Fprintln(v.w, line)
}

func (v *plainView) event(e Event) { fmt.Fprintln(v.w, eventLine(e)) }

func (v *plainView) close(s Snapshot, p pace) {
	for _, line := range report(s, p) {
		fmt.Fprintln(v.w, line)
	}
}

// brief is the time below which a pull isn't worth more than a line.
const brief = time.Second

// report is the end of a pull: a line, and for one that took a while another
// for each source that gave something or had something wrong with it.
func report(s Snapshot, p pace) []string {
	lines := []string{summary(s, p)}
	if p.elapsed < brief {
		return lines
	}
	for _, source := range s.Sources {
		if source.Bytes > 0 || source.Status != SourceUnused && source.Status != SourceActive {
			lines = append(lines, "  "+sourceReport(source))
		}
	}
	return lines
}

// count is n of a thing.
func count(n int, thing string) string { return fmt.Sprintf("%d %s", n, plural(n, thing)) }

// plural is the word for n of a thing.
func plural(n int, thing string) string {
	if n == 1 {
		return thing
	}
	return thing + "s"
}
