package progress

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/waybill-project/waybill/transport"
)

// maxText is the most bytes of a remote text that are shown.
const maxText = 500

// shown is a URI without its password.
func shown(uri string) string { return transport.Redact(uri) }

// clean makes s one line that can't steer a terminal: what controls one, in
// any encoding, is escaped as in a Go string, and so is what changes the
// direction of writing.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + ".."
	}
	safe := true
	for _, r := range s {
		safe = safe && harmless(r)
	}
	if safe {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case harmless(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// harmless reports whether a terminal just shows r.
func harmless(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }

// width is the number of columns s takes.
func width(s string) int { return runewidth.StringWidth(s) }

// cut shortens s to at most columns, in its middle: of a URI both the host and
// the end matter.
func cut(s string, columns int) string {
	if width(s) <= columns {
		return s
	}
	if columns < 6 {
		return runewidth.Truncate(s, max(0, columns), "")
	}
	head := (columns - 2) / 2
	tail := runewidth.TruncateLeft(s, width(s)-(columns-2-head), "")
	return runewidth.Truncate(s, head, "") + ".." + tail
}

// pad fills s up to columns: at its right, or at its left where columns is
// negative.
func pad(s string, columns int) string {
	if columns < 0 {
		return strings.Repeat(" ", max(0, -columns-width(s))) + s
	}
	return s + strings.Repeat(" ", max(0, columns-width(s)))
}

var units = []string{"kB", "MB", "GB", "TB", "PB", "EB"}

// FormatBytes writes a number of bytes as people read it, in decimal units:
// 999 B, 1.2 kB, 45.6 MB.
func FormatBytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value := float64(n) / 1000
	for _, unit := range units {
		// Not 1000.0 kB but 1.0 MB.
		if value < 999.95 {
			return strconv.FormatFloat(value, 'f', 1, 64) + " " + unit
		}
		value /= 1000
	}
	return strconv.FormatInt(n, 10) + " B"
}

func formatRate(bytesPerSecond float64) string {
	return FormatBytes(int64(bytesPerSecond)) + "/s"
}

// maxETA is the longest time that is told.
const maxETA = 99 * time.Hour

// formatDuration writes whole seconds: 12s, 3m05s, 2h03m.
func formatDuration(d time.Duration) string {
	switch s := int64(d.Round(time.Second).Seconds()); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	default:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
}

// formatElapsed is formatDuration with tenths where they say something.
func formatElapsed(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return formatDuration(d)
}

// percent is how much of size is done; only all of it is 100.
func percent(done, size int64) int {
	if size <= 0 {
		return 0
	}
	return int(min(100, float64(done)/float64(size)*100))
}

// shortDigest is a digest with just enough of it to tell blobs apart.
func shortDigest(d string) string {
	algorithm, _, ok := strings.Cut(d, ":")
	if !ok {
		return shortEncoded(d)
	}
	return clean(algorithm) + ":" + shortEncoded(d)
}

// shortEncoded is shortDigest without the algorithm.
func shortEncoded(d string) string {
	encoded := d[strings.Index(d, ":")+1:]
	return clean(encoded[:min(12, len(encoded))])
}

// eventLine is an event in one line.
func eventLine(e Event) string {
	line := clean(e.Type)
	if e.Digest != "" {
		line += " " + shortDigest(e.Digest)
	}
	if e.Source != "" {
		line += " " + clean(e.Source)
	}
	if e.Message != "" {
		line += ": " + clean(e.Message)
	}
	return line
}

// summary is the end of a pull in one line.
func summary(s Snapshot, p pace) string {
	name := clean(s.Name)
	switch {
	case s.Phase == PhaseFailed:
		return fmt.Sprintf("%s: failed after %s, with %s of %s here", name, formatElapsed(p.elapsed), FormatBytes(s.Done), FormatBytes(s.Size))
	case s.Network == 0:
		return fmt.Sprintf("%s: %s, nothing to fetch", name, FormatBytes(s.Size))
	default:
		return fmt.Sprintf("%s: %s, fetched %s in %s (%s)", name, FormatBytes(s.Size), FormatBytes(s.Network), formatElapsed(p.elapsed), formatRate(p.average))
	}
}

// sourceReport says what a source gave, and what was wrong with it.
func sourceReport(s Source) string {
	line := fmt.Sprintf("%s from %s", FormatBytes(s.Bytes), clean(s.URI))
	switch s.Status {
	case SourceDemoted, SourceQuarantined, SourceRefused, SourceWaiting:
		line += ", " + string(s.Status)
		if s.Reason != "" {
			line += ": " + clean(s.Reason)
		}
	}
	return line
}
