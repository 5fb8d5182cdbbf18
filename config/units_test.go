package config

import (
	"math"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	tests := []struct {
		text  string
		want  int64 // 0: refused
		shown string
	}{
		{"1", 1, "1B"},
		{"512B", 512, "512B"},
		{"10kB", 10_000, "10kB"},
		{"10 KB", 10_000, "10kB"},
		{"10KiB", 10 << 10, "10KiB"},
		{"1.5GB", 1_500_000_000, "1500MB"},
		{"0.5kib", 512, "512B"},
		{"32gib", 32 << 30, "32GiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807B"},
		{"9223372036854775808", 0, ""},
		{"8192PiB", 0, ""},
		{"1.0005kB", 0, ""}, // half a byte
		{"", 0, ""},
		{"B", 0, ""},
		{"-1", 0, ""},
		{"+1", 0, ""},
		{"1.", 0, ""},
		{".5kB", 0, ""},
		{"1.2.3", 0, ""},
		{"1e3", 0, ""},
		{"1_000", 0, ""},
		{"1/2", 0, ""},
		{"0x10", 0, ""},
		{"10K", 0, ""},
		{"10 k B", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, ok := parseBytes(tt.text)
			if got != tt.want || ok != (tt.want != 0) {
				t.Fatalf("got %d, %v; want %d", got, ok, tt.want)
			}
			if ok && formatBytes(got) != tt.shown {
				t.Errorf("shown as %s, want %s", formatBytes(got), tt.shown)
			}
		})
	}
}

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text  string
		want  time.Duration // 0: refused
		shown string
	}{
		{"20s", 20 * time.Second, "20s"},
		{"500ms", 500 * time.Millisecond, "500ms"},
		{"90m", 90 * time.Minute, "1h30m"},
		{"60m", time.Hour, "1h"},
		{"1h0m10s", time.Hour + 10*time.Second, "1h0m10s"},
		{"7d", 7 * day, "7d"},
		{"168h", 7 * day, "7d"},
		{"007d1h", 7*day + time.Hour, "7d1h"},
		{"1d1.5s", day + 1500*time.Millisecond, "1d1.5s"},
		{"106751d23h47m16s", 106751*day + 23*time.Hour + 47*time.Minute + 16*time.Second, "106751d23h47m16s"},
		{"106751d24h", 0, ""},
		{"106752d", 0, ""},
		{"99999999999999999999d", 0, ""},
		{"", 0, ""},
		{"d", 0, ""},
		{"20", 0, ""},
		{"-1s", 0, ""},
		{"-1d", 0, ""},
		{"+1d", 0, ""},
		{"1d-1h", 0, ""},
		{"1.5d", 0, ""},
		{"1d2d", 0, ""},
		{"1h1d", 0, ""},
		{"1 d", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, ok := parseDuration(tt.text)
			if got != tt.want || ok != (tt.want != 0) {
				t.Fatalf("got %s, %v; want %s", got, ok, tt.want)
			}
			if ok && formatDuration(got) != tt.shown {
				t.Errorf("shown as %s, want %s", formatDuration(got), tt.shown)
			}
		})
	}
}

// FuzzUnits checks that what is read is shown in a form that reads the same.
func FuzzUnits(f *testing.F) {
	for _, s := range []string{"1.5GB", "32 GiB", "7d12h", "1h0m0.5s", "1ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseBytes(s); ok {
			if again, ok := parseBytes(formatBytes(n)); n < 0 || !ok || again != n {
				t.Fatalf("%q is %d, shown as %q", s, n, formatBytes(n))
			}
		}
		if d, ok := parseDuration(s); ok {
			if again, ok := parseDuration(formatDuration(d)); d < 0 || !ok || again != d {
				t.Fatalf("%q is %d, shown as %q", s, d, formatDuration(d))
			}
		}
	})
}
