package waybill_test

import (
	"reflect"
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
