package tomldoc

import "testing"

func TestLine(t *testing.T) {
	doc, err := Parse(`a = 1
[t]
b = 2

[[r]]
p = "x"
[[r.m]]
l = 1
[[r.m]]
l = 2
[[r]]
[[r.m]]

l = 3
[t.u]
c = [{d = 1}, {d = 2}]
[v."x.y".z]
`)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path []any
		want int
	}{
		{[]any{"a"}, 1},
		{[]any{"t"}, 2},
		{[]any{"t", "b"}, 3},
		{[]any{"r"}, 5},
		{[]any{"r", 0}, 5},
		{[]any{"r", 0, "p"}, 6},
		{[]any{"r", 0, "q"}, 5},
		{[]any{"r", 0, "m", 0}, 7},
		{[]any{"r", 0, "m", 0, "l"}, 8},
		{[]any{"r", 0, "m", 1, "l"}, 10},
		{[]any{"r", 1}, 11},
		{[]any{"r", 1, "m", 0}, 12},
		{[]any{"r", 1, "m", 0, "l"}, 14},
		{[]any{"t", "u", "c", 1, "d"}, 16},
		{[]any{"v", "x.y", "z"}, 17},
		{[]any{"v", "x.y"}, 17},
		{[]any{"v", "w"}, 17},
		{[]any{"nothing", "here"}, 1},
	}
	for _, tt := range tests {
		if got := doc.Line(tt.path...); got != tt.want {
			t.Errorf("Line(%q) = %d, want %d", tt.path, got, tt.want)
		}
	}
}

// FuzzLine has every key of every text on some line of it.
func FuzzLine(f *testing.F) {
	f.Add(everyForm)
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := Parse(text)
		if err != nil {
			return
		}
		for key, line := range doc.Keys() {
			path := make([]any, len(key))
			for i, name := range key {
				path[i] = name
			}
			if got := doc.Line(path...); got < 1 || got > line && len(key) == 1 {
				t.Fatalf("Line(%q) = %d, the key is on line %d", key, got, line)
			}
		}
	})
}
