package tomldoc

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// everyForm has a key on each of the lines everyFormLines, and other things
// that look like keys where there are none.
const everyForm = `# a = 1
a = 1

b = """
c = 2
\"""\\"""
d = '''
[e]
''''' # f = 1
"g.h" . i = "#\""
[ "j" . 'k#"' ] # [l]
m = [ # n = 1
  "o = 1", [ '''
p = 1''', { q = 1, r = { s = 2 } } ],
  { t.u = 1979-05-27 07:32:00 },
]
v = {w = [], x = [
], #
 y = +inf, # z
}
[[ aa ]]
bb = 0x1f
[[aa]]
bb = false
[[aa.cc]]
"" = ''
dd = ""
`

var everyFormLines = []int{2, 4, 7, 10, 11, 12, 14, 14, 14, 15, 17, 17, 17, 19, 21, 22, 23, 24, 25, 26, 27}

func TestKeyLines(t *testing.T) {
	for _, newline := range []string{"\n", "\r\n"} {
		doc, err := Parse(strings.ReplaceAll(everyForm, "\n", newline))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(doc.lines, everyFormLines) {
			t.Errorf("newline %q:\ngot  %v\nwant %v\nkeys %q", newline, doc.lines, everyFormLines, doc.names)
		}
	}
}

func TestKeyLinesLimits(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nested lists", "\na = " + strings.Repeat("[", 1<<20), "nested more than 16 deep"},
		{"nested tables", "\na = " + strings.Repeat("{a=", 1<<18), "nested more than 16 deep"},
		{"a key of many parts", "\n" + strings.Repeat("a.", 1<<18) + "a = 1", "a key of more than 16 parts"},
		{"a table of many parts", "\n[" + strings.Repeat("a.", 1<<18) + "a]", "a key of more than 16 parts"},
		{"many keys", strings.Repeat("\n", 1) + strings.Repeat("[[a]]", 1<<17), "more than 20000 keys"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.text)
			var e *Error
			if !errors.As(err, &e) || e.Line != 2 || !strings.Contains(e.Problem, tt.want) {
				t.Errorf("got %v, want line 2 and %q", err, tt.want)
			}
		})
	}
}

// FuzzKeyLines holds our scanner against the parser: as many keys, and each on
// its line.
func FuzzKeyLines(f *testing.F) {
	f.Add(everyForm)
	for _, line := range strings.Split(everyForm, "\n") {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.TrimPrefix(text, "\ufeff")
		if invalidUTF8(text) >= 0 {
			return
		}
		lines, err := keyLines(text)
		if err != nil {
			return
		}
		var root map[string]any
		meta, err := toml.Decode(text, &root)
		if err != nil {
			return
		}
		keys := meta.Keys()
		if len(keys) != len(lines) {
			t.Fatalf("%d lines %v for %d keys %q", len(lines), lines, len(keys), keys)
		}
		all := strings.Split(text, "\n")
		for i, key := range keys {
			// A name of letters stands as it is, unless written with escapes.
			first := key[len(key)-1]
			line := all[lines[i]-1]
			if bare := (toml.Key{first}).String() == first; bare && !strings.Contains(line, first) && !strings.Contains(line, `\`) {
				t.Fatalf("%q is not on line %d, %q", key, lines[i], line)
			}
		}
	})
}
