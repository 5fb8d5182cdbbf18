package ftp_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// fake is an FTP server for what a real one can't be made to do: it has one
// file, and answers some commands as told.
type fake struct {
	content []byte
	// answers are what certain commands are answered with, without the end of
	// the line: "greeting", or a verb. "" hangs up; "-" is silence.
	answers map[string]string
	// send returns what is sent for the file from an offset on; nil sends the
	// rest of it.
	send func(offset int64) []byte
	// done is the reply to a transfer; empty is 226.
	done string
	// hold keeps data connections open at the end of the data.
	hold bool

	listener net.Listener
	stop     chan struct{}
	sessions sync.WaitGroup

	mu       sync.Mutex
	commands []string
	conns    []net.Conn
}

// startFake starts f and ends it with t.
func startFake(t testing.TB, f *fake) *fake {
	t.Helper()
	var err error
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	f.stop = make(chan struct{})
	f.sessions.Add(1)
	go func() {
		defer f.sessions.Done()
		for {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			f.sessions.Add(1)
			go func() {
				defer f.sessions.Done()
				defer conn.Close()
				f.session(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		f.listener.Close()
		close(f.stop)
		f.hangUp()
		f.sessions.Wait()
	})
	return f
}

// hangUp ends all control connections.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

// uri returns the place that the fake is.
func (f *fake) uri() string { return "ftp://" + f.listener.Addr().String() + "/d" }

// sent returns how often clients sent a verb.
func (f *fake) sent(verb string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.commands {
		if v, _, _ := strings.Cut(c, " "); v == verb {
			n++
		}
	}
	return n
}

// session talks to one client.
func (f *fake) session(conn net.Conn) {
	var (
		lines  = bufio.NewScanner(conn)
		data   net.Listener
		offset int64
	)
	defer func() {
		if data != nil {
			data.Close()
		}
	}()
	say := func(verb, usual string) bool {
		text, ok := f.answers[verb]
		if !ok {
			text = usual
		}
		if text == "-" {
			<-f.stop
			return false
		}
		if text == "" {
			return false
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", text)
		return err == nil
	}
	if !say("greeting", "220 ready") {
		return
	}
	for lines.Scan() {
		f.mu.Lock()
		f.commands = append(f.commands, lines.Text())
		f.mu.Unlock()
		verb, argument, _ := strings.Cut(lines.Text(), " ")
		ok := true
		switch verb {
		case "USER":
			ok = say(verb, "331 password?")
		case "PASS":
			ok = say(verb, "230 welcome")
		case "SIZE":
			ok = say(verb, fmt.Sprintf("213 %d", len(f.content)))
		case "REST":
			_, _ = fmt.Sscan(argument, &offset) // a test that sends another sees it at the content
			ok = say(verb, "350 go on")
		case "EPSV", "PASV":
			if data != nil {
				data.Close()
			}
			var err error
			if data, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				return
			}
			port := data.Addr().(*net.TCPAddr).Port
			text := fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)", port)
			if verb == "PASV" {
				text = fmt.Sprintf("227 Entering Passive Mode (192,0,2,1,%d,%d).", port>>8, port&255)
			}
			ok = say(verb, text)
		case "RETR":
			if text, told := f.answers[verb]; told {
				ok = say(verb, text)
				break
			}
			ok = data != nil && f.transfer(conn, data, offset)
			offset = 0
		case "QUIT":
			return
		default:
			ok = say(verb, "200 fine")
		}
		if !ok {
			return
		}
	}
}

// transfer sends the file from offset on.
func (f *fake) transfer(conn net.Conn, data net.Listener, offset int64) bool {
	if _, err := fmt.Fprint(conn, "150 here it comes\r\n"); err != nil {
		return false
	}
	d, err := data.Accept()
	if err != nil {
		return false
	}
	content := f.content[min(offset, int64(len(f.content))):]
	if f.send != nil {
		content = f.send(offset)
	}
	_, err = d.Write(content)
	if f.hold {
		<-f.stop
	}
	d.Close()
	done := f.done
	if done == "" {
		done = "226 done"
	}
	if err != nil {
		done = "426 you went away"
	}
	_, err = fmt.Fprintf(conn, "%s\r\n", done)
	return err == nil
}
