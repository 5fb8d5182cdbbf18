package progress_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/progress"
)

// drawn is what a bar renderer writes for scene(3) on a screen of that size.
func drawn(columns, rows int, opts progress.Options) string {
	var out bytes.Buffer
	clock := &clock{epoch}
	opts.Now, opts.Size = clock.Now, func() (int, int) { return columns, rows }
	if opts.Env == nil {
		opts.Env = noEnv
	}
	r := progress.New(progress.Bar, &out, opts)
	r.Update(scene(0)) // too soon to be drawn
	r.Update(scene(3))
	return out.String()
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]*[a-zA-Z]")

func TestBarPicture(t *testing.T) {
	for _, test := range []struct {
		columns, rows int
		want          string
	}{
		{120, 24, `
example.com/app:v1 fetching [=======>                              ]  22% 220.0 MB / 1.0 GB  40.0 MB/s ETA 20s
  020202020202 fetching  [==========>                           ]  30% 120.0 MB / 400.0 MB
  030303030303 verifying [======================================] 100%     5.0 MB / 5.0 MB
  040404040404 fetching  1.2 kB
  050505050505 failed    [                                      ]   0%        7 B / 1.0 MB
  +1 more blob
  docker://user:xxxxx@registry.example/app         10.0 MB/s  30.0 MB active
  https://cas.example/a/rather/long/way/to/blobs/  30.0 MB/s  60.0 MB active
  sftp://host/layout                                            999 B demoted: slower than the others
  http://liar.example/                                         5.0 MB quarantined: wrong bytes at 1048576 of sha256:0..
  http://127.0.0.1/                                               0 B refused: loopback named by a remote document
  file:///mirror                                                  0 B unused
`},
		{80, 8, `
example.com/app:v1 [=>           ]  22% 220.0 MB / 1.0 GB  40.0 MB/s ETA 20s
  020202020202 fetching  [=======>                   ]  30% 120.0 MB / 400.0 MB
  030303030303 verifying [===========================] 100%     5.0 MB / 5.0 MB
  +3 more blobs
  docker://user:..try.example/app  10.0 MB/s  30.0 MB active
  https://cas.ex..g/way/to/blobs/  30.0 MB/s  60.0 MB active
  +4 more sources
`},
		{40, 24, `
[=>        ]  22%  40.0 MB/s ETA 20s
  020202020202 fetching  [=>     ]  30%
  030303030303 verifying [=======] 100%
  040404040404 fetching  1.2 kB
  050505050505 failed    [       ]   0%
  +1 more blob
  docker..ple/app  10.0 MB/s active
  https:../blobs/  30.0 MB/s active
  sftp:/../layout    999 B demoted
  http:/..xample/   5.0 MB quarantined
  http:/...0.0.1/      0 B refused
  file:///mirror       0 B unused
`},
		{20, 24, `
 22%  40.0 MB/s
  020202020202  30%
  030303030303 100%
  040404040404
  050505050505   0%
  +1 more blob
  doc..app
  htt..bs/
  sft..out demoted
  htt..le/ qua..ned
  htt...1/ refused
  fil..ror unused
`},
		{80, 2, `
example.com/app:v1 [=>           ]  22% 220.0 MB / 1.0 GB  40.0 MB/s ETA 20s
`},
	} {
		t.Run(fmt.Sprintf("%dx%d", test.columns, test.rows), func(t *testing.T) {
			got := escapes.ReplaceAllString(drawn(test.columns, test.rows, progress.Options{NoColor: true}), "")
			got = regexp.MustCompile(" +\n").ReplaceAllString(got, "\n")
			if want := strings.TrimPrefix(test.want, "\n"); got != want {
				t.Errorf("drawn:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestBarFitsEveryScreen(t *testing.T) {
	for columns := 1; columns <= 130; columns++ {
		for _, rows := range []int{2, 3, 5, 9, 24} {
			lines := strings.Split(strings.TrimSuffix(escapes.ReplaceAllString(drawn(columns, rows, progress.Options{}), ""), "\n"), "\n")
			if len(lines) > max(1, rows-1) {
				t.Errorf("%d lines on %dx%d", len(lines), columns, rows)
			}
			for _, line := range lines {
				if len(line) > max(1, columns-1) {
					t.Errorf("%d columns on %dx%d: %q", len(line), columns, rows, line)
				}
			}
		}
	}
}

func TestBarColor(t *testing.T) {
	color := regexp.MustCompile("\x1b\\[[0-9]+m")
	for _, test := range []struct {
		name    string
		noColor bool
		env     string
		want    bool
	}{
		{"as it is", false, "", true},
		{"NO_COLOR", false, "1", false},
		{"option", true, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := func(name string) string {
				if name == "NO_COLOR" {
					return test.env
				}
				return ""
			}
			out := drawn(80, 24, progress.Options{NoColor: test.noColor, Env: env})
			if got := color.MatchString(out); got != test.want {
				t.Errorf("coloured: %v, want %v", got, test.want)
			}
		})
	}
}

func TestShortPullIsOneLine(t *testing.T) {
	for _, mode := range []progress.Mode{progress.Bar, progress.Plain} {
		t.Run(string(mode), func(t *testing.T) {
			var out bytes.Buffer
			clock := &clock{epoch}
			r := progress.New(mode, &out, progress.Options{Now: clock.Now, Env: noEnv})
			final := progress.Snapshot{Time: epoch.Add(400e6), Name: "app:v1", Phase: "done", Size: 2e6, Done: 2e6, Network: 1e6,
				Sources: []progress.Source{{URI: "http://h/", Bytes: 1e6, Status: progress.SourceActive}}}
			if mode == progress.Bar {
				r.Update(final)
			}
			r.Close(final)
			r.Update(final)
			r.Event(progress.Event{Type: "late"})
			r.Close(final)
			if want := "app:v1: 2.0 MB, fetched 1.0 MB in 0.4s (2.5 MB/s)\n"; out.String() != want {
				t.Errorf("wrote %q, want %q", out.String(), want)
			}
		})
	}
}
