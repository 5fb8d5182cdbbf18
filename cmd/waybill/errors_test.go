package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

func TestClassify(t *testing.T) {
	blob := func(kind error) error {
		return fmt.Errorf("pull: %w", &fetch.Error{Kind: kind, Digest: digest.FromString("x"), Sources: []fetch.SourceError{
			{URI: "https://u:secret@h/", Err: transport.Errorf(transport.ErrNotFound, "https://u:secret@h/", "no such\nblob\x1b[31m")},
		}})
	}
	for what, test := range map[string]struct {
		err     error
		code    int
		sources int
		said    bool // by the headline, so that the source has no line
	}{
		"not found":        {blob(fetch.ErrNotFound), exitNotFound, 1, false},
		"verification":     {blob(fetch.ErrVerification), exitVerify, 1, false},
		"unavailable":      {blob(fetch.ErrUnavailable), exitFailed, 1, false},
		"refused":          {blob(transport.ErrRefused), exitRefused, 1, false},
		"offline":          {blob(fetch.ErrOffline), exitNotFound, 1, false},
		"name":             {fmt.Errorf("%w: x", resolve.ErrNotFound), exitNotFound, 0, false},
		"registry down":    {transport.Errorf(transport.ErrTemporary, "docker://h/a", "refused"), exitFailed, 1, true},
		"login":            {transport.Errorf(transport.ErrUnauthorized, "docker://h/a", "401"), exitFailed, 1, true},
		"platform":         {image.ErrNoPlatform, exitNotFound, 0, false},
		"diff id":          {bundle.ErrDiffID, exitVerify, 0, false},
		"disk full":        {&store.SpaceError{Need: 2, Have: 1, Path: "/s"}, exitFailed, 0, false},
		"usage":            {usageError{nil, errors.New("what?")}, exitUsage, 0, false},
		"usage of a place": {usageError{nil, fmt.Errorf("name: %w", transport.Errorf(transport.ErrPermanent, "s3://…", "no bucket"))}, exitUsage, 0, false},
		"store":            {notFoundError{"gone", "look elsewhere"}, exitNotFound, 0, false},
		"anything else":    {errors.New("odd"), exitFailed, 0, false},
		"directory used":   {bundle.ErrOccupied, exitFailed, 0, false},
	} {
		t.Run(what, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			a := &app{stdout: &stdout, stderr: &stderr}
			if got := a.report(context.Background(), test.err); got != test.code {
				t.Errorf("exit code %d, want %d", got, test.code)
			}
			lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
			want := 2 + test.sources
			if test.said {
				want = 2
			}
			if len(lines) != want || stdout.Len() != 0 {
				t.Errorf("want the error, %d sources and what to do:\n%s", test.sources, stderr.String())
			}
			if strings.Contains(stderr.String(), "secret") || strings.Contains(stderr.String(), "\x1b") {
				t.Errorf("a secret or a control character came through: %q", stderr.String())
			}
			stderr.Reset()
			a.flags.json = true
			a.report(context.Background(), test.err)
			var out outcome
			if err := json.Unmarshal(stderr.Bytes(), &out); err != nil || out.Code != test.code || out.Error == "" || len(out.Sources) != test.sources {
				t.Errorf("as JSON: %v\n%s", err, stderr.String())
			}
		})
	}
}
