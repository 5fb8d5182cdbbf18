package objectstore_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/objectstore"
)

var form = objectstore.Form{
	Scheme: "st", Written: "st://BOX/PREFIX", Names: "box", Credentials: "BOX_KEY",
	Params: []string{"own"}, Secrets: map[string]string{"sig": "holds a signature; set BOX_KEY"},
}

func TestFormParse(t *testing.T) {
	type params = map[string]string
	for in, want := range map[string]objectstore.Place{
		"st://box":           {Host: "box", Params: params{}},
		"st://Box/a%20b/c/":  {Host: "Box", Path: "/a b/c/", Params: params{}},
		"st://box?own=x%2Fy": {Host: "box", Params: params{"own": "x/y"}},
		"st://box/?anonymous=true&endpoint=http://H:1/": {Host: "box", Path: "/", Anonymous: true, Endpoint: "http://h:1", Params: params{}},
		"st://box?anonymous=false":                      {Host: "box", Params: params{}},
	} {
		if got, err := form.Parse(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
	}
	for in, says := range map[string]string{
		"st://box/%zz?hunter2":                   "malformed URI; write st://BOX/PREFIX",
		"gs://box":                               "not a box's URI",
		"st:box":                                 "not a box's URI",
		"st://ann:hunter2@box":                   "see BOX_KEY",
		"st://box#hunter2":                       "holds a fragment",
		"st://box?%zz=hunter2":                   "malformed query",
		"st://box?own=1&own=hunter2":             "own is given twice",
		"st://box?anonymous=hunter2":             "true or false",
		"st://box?sig=hunter2":                   "holds a signature; set BOX_KEY",
		"st://box?x=hunter2":                     `unknown parameter "x"; there are endpoint, own and anonymous`,
		"st://box?endpoint=ftp://h":              "endpoint: not http",
		"st://box?endpoint=http://ann:hunter2@h": "endpoint: holds user information",
	} {
		_, err := form.Parse(in)
		if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v; want %q", in, err, says)
		}
	}
}
