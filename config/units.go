package config

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// byteUnits are the units of sizes, in the order they are preferred in.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"PiB", 1 << 50}, {"PB", 1e15},
	{"TiB", 1 << 40}, {"TB", 1e12},
	{"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6},
	{"KiB", 1 << 10}, {"kB", 1e3},
	{"B", 1},
}

// parseBytes reads a size: a decimal number and a unit in whatever case, or
// bytes. There are no parts of bytes.
func parseBytes(text string) (int64, bool) {
	digits := strings.TrimRightFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	unit := int64(1)
	if name := strings.TrimSpace(text[len(digits):]); name != "" {
		unit = 0
		for _, u := range byteUnits {
			if strings.EqualFold(u.name, name) {
				unit = u.bytes
			}
		}
	}
	if unit == 0 || !isDecimal(digits) {
		return 0, false
	}
	n, ok := new(big.Rat).SetString(digits)
	if !ok || !n.Mul(n, new(big.Rat).SetInt64(unit)).IsInt() || !n.Num().IsInt64() {
		return 0, false
	}
	return n.Num().Int64(), true
}

// isDecimal reports whether s is digits, or digits, a point and digits, and not
// absurdly many.
func isDecimal(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	return len(s) <= 32 && isDigits(whole) && (!point || isDigits(fraction))
}

// isDigits reports whether s is one or more digits.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// formatBytes returns n, which is positive, in the largest unit that shows it
// exactly.
func formatBytes(n int64) string {
	i := 0
	for n%byteUnits[i].bytes != 0 { // the last unit is one byte
		i++
	}
	return strconv.FormatInt(n/byteUnits[i].bytes, 10) + byteUnits[i].name
}

// parseDuration reads a duration as time.ParseDuration does, with days before
// the rest.
func parseDuration(text string) (time.Duration, bool) {
	var days time.Duration
	if whole, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseInt(whole, 10, 64)
		if err != nil || !isDigits(whole) || n > int64(math.MaxInt64/day) {
			return 0, false
		}
		if days, text = time.Duration(n)*day, rest; text == "" {
			return days, true
		}
	}
	rest, err := time.ParseDuration(text)
	if err != nil || rest < 0 || rest > math.MaxInt64-days {
		return 0, false
	}
	return days + rest, true
}

// formatDuration returns d, which is positive, as parseDuration reads it.
func formatDuration(d time.Duration) string {
	var text string
	if d >= day {
		text = strconv.FormatInt(int64(d/day), 10) + "d"
		if d %= day; d == 0 {
			return text
		}
	}
	rest := d.String()
	if strings.HasSuffix(rest, "m0s") {
		rest = strings.TrimSuffix(rest, "0s")
	}
	if strings.HasSuffix(rest, "h0m") {
		rest = strings.TrimSuffix(rest, "0m")
	}
	return text + rest
}
