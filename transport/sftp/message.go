package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/waybill-project/waybill/transport/httpclient"
)

// version is that of SFTP which is spoken: what every server knows
// (draft-ietf-secsh-filexfer-02).
const version = 3

// The kinds of message that reading files takes (§3 of the draft).
const (
	kindVersion = 2
	kindStatus  = 101
	kindHandle  = 102
	kindData    = 103
	kindAttrs   = 105
)

// The requests, as [ssh.Marshal] writes them.
type (
	initRequest struct {
		Version uint32 `sshtype:"1"`
	}
	openRequest struct {
		ID    uint32 `sshtype:"3"`
		Path  string
		Mode  uint32
		Attrs uint32
	}
	closeRequest struct {
		ID     uint32 `sshtype:"4"`
		Handle string
	}
	readRequest struct {
		ID     uint32 `sshtype:"5"`
		Handle string
		Offset uint64
		Length uint32
	}
	statRequest struct {
		ID   uint32 `sshtype:"17"`
		Path string
	}
)

// forReading is SSH_FXF_READ of an openRequest's mode (§6.3).
const forReading = 1

// maxHandle is the longest handle there may be, in bytes (§6.2).
const maxHandle = 256

// appendMessage appends a request to b.
func appendMessage(b []byte, request any) []byte {
	message := ssh.Marshal(request)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(message))), message...)
}

// attrs is what is known of a file.
type attrs struct {
	size    int64
	regular bool
}

// Flags and values of attributes (§5).
const (
	hasSize, hasOwner, hasMode = 1, 2, 4
	modeType, modeRegular      = 0o170000, 0o100000
)

// errGarbled is of what a server sends that isn't what the protocol has.
var errGarbled = errors.New("the server's answer is not one of SFTP")

// parseAttrs reads what follows the number of an answer of kind kindAttrs.
func parseAttrs(b []byte) (attrs, error) {
	if len(b) < 4 {
		return attrs{}, errGarbled
	}
	flags, b := binary.BigEndian.Uint32(b), b[4:]
	var a attrs
	if flags&hasSize == 0 || flags&hasMode == 0 {
		return a, errors.New("the server doesn't say how large it is, or whether it is a file")
	}
	skip := 0
	if flags&hasOwner != 0 {
		skip = 8
	}
	if len(b) < 8+skip+4 {
		return a, errGarbled
	}
	a.size = int64(binary.BigEndian.Uint64(b))
	a.regular = binary.BigEndian.Uint32(b[8+skip:])&modeType == modeRegular
	if a.size < 0 {
		return a, errGarbled
	}
	return a, nil
}

// parseHandle reads what follows the number of an answer of kind kindHandle.
func parseHandle(b []byte) (string, error) {
	handle, rest, ok := cutString(b)
	if !ok || len(rest) > 0 || len(handle) > maxHandle {
		return "", errGarbled
	}
	return string(handle), nil
}

// parseVersion reads what follows the kind of the first answer. It says whether
// the server has the extension of that name.
func parseVersion(b []byte, extension string) (has bool, err error) {
	if len(b) < 4 {
		return false, errGarbled
	}
	if v := binary.BigEndian.Uint32(b); v != version {
		return false, fmt.Errorf("the server speaks version %d of SFTP, not %d", v, version)
	}
	for b = b[4:]; len(b) > 0; {
		name, rest, ok := cutString(b)
		if !ok {
			return false, errGarbled
		}
		if _, b, ok = cutString(rest); !ok {
			return false, errGarbled
		}
		has = has || string(name) == extension
	}
	return has, nil
}

// status is a server's answer of kind kindStatus (§7).
type status struct {
	code uint32
	text string
}

// The codes that mean something of their own here.
const (
	statusEOF        = 1
	statusNoSuchFile = 2
	statusDenied     = 3
	statusFailure    = 4 // all that has no code of its own: too many open files, an error of the disk
	statusLost       = 7 // lost, between the server and what it serves
)

// Error returns the server's words.
func (s status) Error() string { return fmt.Sprintf("SFTP status %d: %s", s.code, s.text) }

// parseStatus reads what follows the number of an answer of kind kindStatus. It
// returns a status, or what is wrong with it. Servers of old sent no text.
func parseStatus(b []byte) error {
	if len(b) < 4 {
		return errGarbled
	}
	text, _, _ := cutString(b[4:])
	return status{binary.BigEndian.Uint32(b), httpclient.OneLine(string(text))}
}

// cutString splits off a string and what follows it.
func cutString(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
