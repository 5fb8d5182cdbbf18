package mirrors_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
)

func TestShortName(t *testing.T) {
	const search, aliases = "unqualified-search-registries = [\"a.example\", \"docker.io\"]\n", "[aliases]\napp = \"b.example/team/app\"\n\"team/app\" = \"docker.io/app\"\n"
	for _, tt := range []struct{ name, conf, short, want, wrong string }{
		{"nothing said", "", "app", "", ""},
		{"alias", search + aliases, "app", "b.example/team/app", ""},
		{"alias of a path", aliases, "team/app", "docker.io/library/app", ""},
		{"no alias", search + aliases, "other", "a.example/other docker.io/library/other", ""},
		{"below", search, "x/y", "a.example/x/y docker.io/x/y", ""},
		{"aliases disabled", "short-name-mode = \"disabled\"\n" + search + aliases, "app", "a.example/app docker.io/library/app", ""},
		{"enforcing", "short-name-mode = \"enforcing\"\n" + search, "app", "", "could be any of a.example/app, docker.io/library/app"},
		{"enforcing one", "short-name-mode = \"enforcing\"\nunqualified-search-registries = [\"a.example\"]\n", "app", "a.example/app", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newMachine(t, map[string]string{"etc/containers/registries.conf": tt.conf}).load(t)
			all, err := c.ShortName(tt.short)
			var e *mirrors.Error
			if tt.wrong != "" {
				if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("got %v, want %q", err, tt.wrong)
				}
				return
			}
			var got []string
			for _, a := range all {
				got = append(got, a.Name)
			}
			if err != nil || !slices.Equal(got, strings.Fields(tt.want)) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
