package ftp

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// maxReplyLine is the longest line of a reply, in bytes with its end.
	maxReplyLine = 4096
	// maxReplyLines is how many lines a reply may have. Greetings are long
	// sometimes.
	maxReplyLines = 256
)

// reply is what a server answered (RFC 959 §4.2).
type reply struct {
	code int
	// text is that of all lines, without the code where a line has one.
	text string
}

// The codes that are looked at one by one (RFC 959 §4.2.1, RFC 2428, RFC 4217).
const (
	codeDataOpen       = 125
	codeAboutToSend    = 150
	codeFileStatus     = 213
	codeReady          = 220
	codePassive        = 227
	codeExtended       = 229
	codeLoggedIn       = 230
	codeLoggedInTLS    = 232
	codeAuthOK         = 234
	codeNeedPassword   = 331
	codeNeedAccount    = 332
	codePending        = 350
	codeUnavailable    = 421
	codeBadCredentials = 430
	codeSyntax         = 500
	codeArgument       = 501
	codeNotImplemented = 502
	codeParameter      = 504
	codeNotLoggedIn    = 530
	codeNeedAccount5   = 532
	codeNoFile         = 550
)

// completed reports whether the request succeeded (2yz).
func (r reply) completed() bool { return r.code/100 == 2 }

// unknown reports whether the server doesn't know the command.
func (r reply) unknown() bool {
	switch r.code {
	case codeSyntax, codeNotImplemented, codeParameter:
		return true
	}
	return false
}

// malformedError is an answer that is no FTP reply.
type malformedError struct{ problem string }

func (e *malformedError) Error() string { return "malformed reply: " + e.problem }

// readReply reads one reply. r's buffer has room for maxReplyLine bytes.
func readReply(r *bufio.Reader) (reply, error) {
	line, err := readLine(r)
	if err != nil {
		return reply{}, err
	}
	code, more, text, ok := cutCode(line)
	if !ok {
		return reply{}, &malformedError{fmt.Sprintf("%q doesn't begin with a code", httpclient.OneLine(line))}
	}
	lines := []string{text}
	for more {
		if len(lines) == maxReplyLines {
			return reply{}, &malformedError{fmt.Sprintf("more lines than the limit of %d", maxReplyLines)}
		}
		if line, err = readLine(r); err != nil {
			return reply{}, err
		}
		// Lines in between may begin with anything, also with other codes.
		if c, dash, rest, ok := cutCode(line); ok && c == code {
			line, more = rest, dash
		}
		lines = append(lines, line)
	}
	return reply{code: code, text: strings.Join(lines, "\n")}, nil
}

// readLine returns a line without its end.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", &malformedError{fmt.Sprintf("a line longer than the limit of %d bytes", maxReplyLine)}
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// cutCode splits "220 text" or "220-text", where more lines follow.
func cutCode(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '1' || line[0] > '5' {
		return 0, false, "", false
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil {
		return 0, false, "", false
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', line[4:], true
}

// parseExtended returns the port in the text of a reply to EPSV, such as
// "Entering Extended Passive Mode (|||6446|)" (RFC 2428 §3).
func parseExtended(text string) (int, error) {
	_, in, opened := strings.Cut(text, "(")
	in, _, closed := strings.Cut(in, ")")
	if !opened || !closed || len(in) < 5 {
		return 0, &malformedError{"no (|||PORT|) in the answer to EPSV"}
	}
	delimiter := in[:1]
	digits, ok := strings.CutPrefix(in, strings.Repeat(delimiter, 3))
	digits, ok2 := strings.CutSuffix(digits, delimiter)
	port, err := strconv.ParseUint(digits, 10, 16)
	if !ok || !ok2 || err != nil || port == 0 {
		return 0, &malformedError{"no (|||PORT|) in the answer to EPSV"}
	}
	return int(port), nil
}

// parsePassive returns the port in the text of a reply to PASV, such as
// "Entering Passive Mode (127,0,0,1,25,46)". The parentheses may be missing
// (RFC 1123 §4.1.2.6). The address is not looked at.
func parsePassive(text string) (int, error) {
	bad := &malformedError{"no h1,h2,h3,h4,p1,p2 in the answer to PASV"}
	start := strings.IndexAny(text, "0123456789")
	if start < 0 {
		return 0, bad
	}
	list := text[start:]
	if end := strings.IndexFunc(list, func(r rune) bool { return r != ',' && (r < '0' || r > '9') }); end >= 0 {
		list = list[:end]
	}
	fields := strings.Split(list, ",")
	if len(fields) != 6 {
		return 0, bad
	}
	var n [6]uint64
	for i, f := range fields {
		var err error
		if n[i], err = strconv.ParseUint(f, 10, 8); err != nil {
			return 0, bad
		}
	}
	port := int(n[4]<<8 | n[5])
	if port == 0 {
		return 0, bad
	}
	return port, nil
}

// parseSize returns the number in the text of a reply to SIZE (RFC 3659 §4).
func parseSize(text string) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 63)
	if err != nil {
		return 0, &malformedError{"no number in the answer to SIZE"}
	}
	return int64(n), nil
}

// wrapped reports whether a server that accepted REST offset speaks of the
// number that remains of offset in 31 or 32 bits: it would send the file from
// there.
func wrapped(text string, offset int64) bool {
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '-' }) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n == offset {
			continue
		}
		if n == offset&(1<<32-1) || n == int64(int32(offset)) || n == 1<<31-1 || n == 1<<32-1 {
			return true
		}
	}
	return false
}
