package daemon_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest/daemon"
)

// addrVariable makes the test program the server: it answers each connection
// with its process id.
const addrVariable = "DAEMON_TEST_ADDR"

func TestMain(m *testing.M) {
	addr := os.Getenv(addrVariable)
	if addr == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprint(c, os.Getpid())
		c.Close()
	}
}

// ask returns what the server answers within a time.
func ask(addr string, within time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

func TestDaemon(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	t.Setenv(addrVariable, addr)
	d := daemon.Start(t, addr, os.Args[0])
	first, err := ask(addr, time.Minute)
	if err != nil {
		t.Fatal(err)
	}

	d.Pause(t)
	if answer, err := ask(addr, 100*time.Millisecond); err == nil {
		t.Errorf("a paused server answered %s", answer)
	}
	d.Resume(t)
	if again, err := ask(addr, time.Minute); again != first {
		t.Errorf("after Resume: %q, %v; want %q", again, err, first)
	}

	d.Stop(t)
	d.Stop(t)
	if answer, err := ask(addr, time.Second); err == nil {
		t.Errorf("a stopped server answered %s", answer)
	}
	d.Start(t)
	if second, err := ask(addr, time.Minute); second == "" || second == first {
		t.Errorf("started again: %q, %v; before %q", second, err, first)
	}
	if n := strings.Count(d.Log(), "listening"); n != 2 {
		t.Errorf("the log holds %d starts, want 2: %q", n, d.Log())
	}
}
