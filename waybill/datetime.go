package waybill

import (
	"strings"
	"time"
)

// parseTime reads a date-time of RFC 3339 §5.6, with "T" and "Z" in upper case,
// no leap second and at most nine digits of a fraction. Package time alone would
// take a comma for the point, hours of one digit, offsets of a day.
func parseTime(s string) (time.Time, bool) {
	const form = "dddd-dd-ddTdd:dd:dd"
	if len(s) < len(form) || !fits(s[:len(form)], form) {
		return time.Time{}, false
	}
	offset := s[len(form):]
	if fraction, ok := strings.CutPrefix(offset, "."); ok {
		offset = strings.TrimLeft(fraction, "0123456789")
		if n := len(fraction) - len(offset); n == 0 || n > 9 {
			return time.Time{}, false
		}
	}
	if offset != "Z" && (!fits(offset, "+dd:dd") && !fits(offset, "-dd:dd") || offset[1:3] > "23" || offset[4:] > "59") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err == nil
}

// fits reports whether s is form with a digit for each "d".
func fits(s, form string) bool {
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		if form[i] == 'd' && !digit(s[i]) || form[i] != 'd' && s[i] != form[i] {
			return false
		}
	}
	return true
}
