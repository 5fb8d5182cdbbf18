package progress

import (
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestFormatBytes(t *testing.T) {
	for _, test := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {999, "999 B"}, {1000, "1.0 kB"}, {999949, "999.9 kB"}, {999950, "1.0 MB"}, {456700000, "456.7 MB"},
		{1<<63 - 1, "9.2 EB"},
	} {
		if got := FormatBytes(test.n); got != test.want {
			t.Errorf("%d: %q, want %q", test.n, got, test.want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"}, {59 * time.Second, "59s"}, {59700 * time.Millisecond, "1m00s"}, {185 * time.Second, "3m05s"}, {7380 * time.Second, "2h03m"}, {maxETA, "99h00m"},
	} {
		if got := formatDuration(test.d); got != test.want {
			t.Errorf("%v: %q, want %q", test.d, got, test.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"", "https://host/é/日本", "\x1b[2J\x9b\u009b\u202e", "\xff\xf0\x90"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, columns int) {
		got := clean(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q isn't UTF-8", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q has %U", got, r)
			}
		}
		if columns >= 0 && columns < 1000 {
			if short := cut(got, columns); width(short) > columns {
				t.Errorf("%q takes %d columns, not %d", short, width(short), columns)
			}
		}
	})
}
