package sftp

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

func TestFileError(t *testing.T) {
	for name, test := range map[string]struct {
		err, kind error
		text      string
	}{
		"missing":         {status{statusNoSuchFile, ""}, transport.ErrNotFound, "no such file"},
		"denied":          {status{statusDenied, ""}, transport.ErrUnauthorized, "denies permission"},
		"shorter":         {status{statusEOF, ""}, io.ErrUnexpectedEOF, "became shorter"},
		"failure":         {status{statusFailure, "Failure"}, transport.ErrTemporary, "status 4: Failure"},
		"lost beyond it":  {status{statusLost, ""}, transport.ErrTemporary, "status 7"},
		"bad message":     {status{5, "Bad message"}, transport.ErrPermanent, "status 5: Bad message"},
		"no such request": {status{8, ""}, transport.ErrPermanent, "status 8"},
		"lost":            {fmt.Errorf("%w: %w", errLost, io.EOF), transport.ErrTemporary, "was lost"},
		"no proper SFTP":  {fmt.Errorf("%w: it is of kind 7", errGarbled), transport.ErrPermanent, "not one of SFTP"},
	} {
		err := fileError("sftp://h/d", "/d/file", test.err)
		if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), "/d/file") {
			t.Errorf("%s: %v", name, err)
		}
		if lost := test.text == "was lost"; errors.Is(err, errLost) != lost {
			t.Errorf("%s: lost is %v", name, !lost)
		}
	}
}
