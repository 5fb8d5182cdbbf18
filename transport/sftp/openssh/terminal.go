package openssh

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// AskFunc asks the user for something secret. It returns [ErrNoTerminal] if
// there is nobody to ask, and ctx's error when that ends first. The caller may
// overwrite what it returns.
type AskFunc func(ctx context.Context, prompt string) ([]byte, error)

// ErrNoTerminal says that there is nobody to ask.
var ErrNoTerminal = errors.New("no terminal to ask on")

// HasTerminal reports whether this process has a terminal to ask on.
func HasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	return term.IsTerminal(int(tty.Fd()))
}

// AskOnTerminal is the [AskFunc] that asks on the terminal of this process,
// /dev/tty, wherever its input and output go, without showing what is typed.
func AskOnTerminal(ctx context.Context, prompt string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, ErrNoTerminal
	}
	fd := int(tty.Fd())
	before, err := hide(fd)
	if err != nil {
		tty.Close()
		return nil, ErrNoTerminal
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		defer tty.Close()
		fmt.Fprint(tty, prompt)
		text, err := term.ReadPassword(fd)
		_ = term.Restore(fd, before) // nothing can be done about it
		fmt.Fprintln(tty)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return a.text, a.err
	case <-ctx.Done():
		// A read of a terminal can't be ended; the next line that is typed
		// ends it. What is typed shows again.
		_ = term.Restore(fd, before)
		return nil, ctx.Err()
	}
}

// hide keeps what is typed from being shown, and returns how the terminal was
// before. [term.ReadPassword] does that too, but after the question is there:
// who types quickly would be seen.
func hide(fd int) (*term.State, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	state.Lflag &^= unix.ECHO
	return before, unix.IoctlSetTermios(fd, unix.TCSETS, state)
}
