package sftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	pkgsftp "github.com/pkg/sftp"

	"github.com/waybill-project/waybill/transport"
)

func TestFileError(t *testing.T) {
	for name, test := range map[string]struct {
		err, kind error
		text      string
	}{
		"missing":         {&fs.PathError{Err: fs.ErrNotExist}, transport.ErrNotFound, "no such file"},
		"denied":          {fs.ErrPermission, transport.ErrUnauthorized, "denies permission"},
		"shorter":         {io.EOF, io.ErrUnexpectedEOF, "became shorter"},
		"failure":         {&pkgsftp.StatusError{Code: statusFailure}, transport.ErrTemporary, "sftp"},
		"bad message":     {&pkgsftp.StatusError{Code: 5}, transport.ErrPermanent, "sftp"},
		"lost":            {pkgsftp.ErrSSHFxConnectionLost, transport.ErrTemporary, "was lost"},
		"channel closed":  {fmt.Errorf("failed to send packet: %w", io.EOF), transport.ErrTemporary, "was lost"},
		"reset":           {&net.OpError{Op: "write", Err: syscall.ECONNRESET}, transport.ErrTemporary, "was lost"},
		"no proper SFTP":  {errors.New("sftp: unexpected packet: want 101, got 7"), transport.ErrPermanent, "unexpected packet"},
		"closed by us":    {net.ErrClosed, transport.ErrTemporary, "was lost"},
		"no such message": {&pkgsftp.StatusError{Code: 8}, transport.ErrPermanent, "sftp"},
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
