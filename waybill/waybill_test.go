package waybill_test

import (
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/waybill"
)

// checkSame checks that two documents say the same, in whatever order.
func checkSame(t *testing.T, got, want *waybill.Document) {
	t.Helper()
	got.Sort()
	want.Sort()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// checkLine checks that an error is one short line.
func checkLine(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); strings.ContainsAny(s, "\r\n") || len(s) > 700 {
		t.Errorf("not one short line: %q", s)
	}
}

// checkEntry checks what must hold of every place a document from elsewhere
// names.
func checkEntry(t *testing.T, e waybill.Entry) {
	t.Helper()
	u, err := url.Parse(e.URI)
	if err != nil || !u.IsAbs() || len(e.URI) > waybill.MaxExpanded {
		t.Errorf("entry with the URI %q: %v", e.URI, err)
		return
	}
	if !slices.Contains(waybill.RemoteSchemes(), u.Scheme) {
		t.Errorf("entry with the URI %q", e.URI)
	}
	if _, password := u.User.Password(); password || u.User != nil && u.Scheme != "sftp" && u.Scheme != "ssh" {
		t.Errorf("entry with credentials: %q", e.URI)
	}
	if u.Host == "" && u.Scheme != "magnet" || strings.ContainsAny(e.URI, "# \\\r\n\x00") {
		t.Errorf("entry with the URI %q", e.URI)
	}
}

// vectorFiles are the documents in a directory of the vectors.
func vectorFiles(t testing.TB, dir string) [][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(vectorsDir, dir, "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	var all [][]byte
	for _, name := range names {
		all = append(all, readFile(t, name))
	}
	return all
}
