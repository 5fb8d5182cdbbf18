package openssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/waybill-project/waybill/transport"
)

// session is one attempt to get through a server's handshake.
type session struct {
	*settings
	ctx    context.Context
	dialer *Dialer
	// given is the password that came with the target, if hasGiven.
	given    string
	hasGiven bool

	clock *clock

	ids     []identity
	ready   bool // ids were collected
	offered []string
	// attempts counts what was tried with each interactive method.
	attempts map[string]int

	mu    sync.Mutex
	notes []string
	ends  []func()
}

// note keeps what a user should know if no way in is found.
func (s *session) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := fmt.Sprintf(format, args...); !slices.Contains(s.notes, n) {
		s.notes = append(s.notes, n)
	}
}

// onEnd has f called when the handshake is over.
func (s *session) onEnd(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, f)
}

func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.ends {
		f()
	}
	s.ends = nil
}

// asking asks the user. The server's time to answer doesn't run meanwhile.
func (s *session) asking(ask AskFunc, prompt string) ([]byte, error) {
	s.clock.pause()
	defer s.clock.resume()
	return ask(s.ctx, prompt)
}

const (
	methodPublicKey   = "publickey"
	methodInteractive = "keyboard-interactive"
	methodPassword    = "password"
)

// next is the [ssh.ClientAuthCallback]: it says how to go on.
func (s *session) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if err := s.ctx.Err(); err != nil {
		return nil, err
	}
	allowed := func(method string) bool { return slices.Contains(c.AllowedMethods, method) }
	if s.hasGiven {
		// Who writes a password wants it used: a key that happens to fit would
		// hide that it is wrong.
		switch {
		case allowed(methodPassword) && s.count(methodPassword) == 0:
			s.attempts[methodPassword]++
			return ssh.Password(s.given), nil
		case allowed(methodInteractive) && s.count(methodInteractive) == 0:
			s.attempts[methodInteractive]++
			return ssh.KeyboardInteractive(s.answer), nil
		}
		return nil, s.refused(c)
	}
	if allowed(methodPublicKey) && s.publicKey {
		if !s.ready {
			s.ids, s.ready = s.identities(&s.dialer.keys), true
		}
		if len(s.ids) > 0 {
			id := s.ids[0]
			s.ids = s.ids[1:]
			s.offered = append(s.offered, id.name)
			return ssh.PublicKeys(id.signer), nil
		}
	}
	switch {
	case allowed(methodInteractive) && s.interactive && s.mayAsk(methodInteractive):
		s.attempts[methodInteractive]++
		return ssh.KeyboardInteractive(s.challenge), nil
	case allowed(methodPassword) && s.password && s.mayAsk(methodPassword):
		s.attempts[methodPassword]++
		return ssh.PasswordCallback(s.askPassword), nil
	}
	return nil, s.refused(c)
}

func (s *session) count(method string) int { return s.attempts[method] }

func (s *session) mayAsk(method string) bool {
	return !s.batch && s.count(method) < s.prompts && s.dialer.passwords.mayAsk(s.String())
}

// answer answers a server's questions with the password given. Only what is a
// single hidden one can be a password.
func (s *session) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0]:
		return []string{s.given}, nil
	}
	return nil, errors.New("the server asks more than the password")
}

// challenge has the user answer a server's questions.
func (s *session) challenge(_, _ string, questions []string, echos []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i, question := range questions {
		answer, err := s.askOne(question, len(questions) == 1 && !echos[i])
		if err != nil {
			return nil, err
		}
		answers[i] = answer
	}
	return answers, nil
}

func (s *session) askPassword() (string, error) {
	return s.askOne("Password: ", true)
}

// refused says that there is no way in.
func (s *session) refused(c *ssh.ClientAuthContext) error {
	if s.count(methodInteractive)+s.count(methodPassword) > 0 && !s.hasGiven {
		s.dialer.passwords.forget(s.String())
		s.dialer.passwords.giveUp(s.String())
		s.note("the password given on the terminal is wrong")
	}
	what := "no key or password to offer"
	switch {
	case s.hasGiven:
		what = "the password is wrong"
		if !slices.Contains(c.AllowedMethods, methodPassword) && !slices.Contains(c.AllowedMethods, methodInteractive) {
			what = "it takes no passwords"
		}
	case len(s.offered) > 0:
		what = "none of these is accepted: " + strings.Join(s.offered, ", ")
	}
	text := fmt.Sprintf("%s lets %s in by %s; %s", s.address(), s.user, strings.Join(c.AllowedMethods, " or "), what)
	s.mu.Lock()
	notes := strings.Join(s.notes, "; ")
	s.mu.Unlock()
	if notes != "" {
		text += "; " + notes
	}
	return s.fail(transport.ErrUnauthorized, "%s; see what works with: ssh -v %s", text, sshArguments(s.settings))
}

// clock closes a connection whose server doesn't answer in time.
type clock struct {
	timeout time.Duration
	timer   *time.Timer
	expired atomic.Bool
}

func startClock(timeout time.Duration, cut func()) *clock {
	c := &clock{timeout: timeout}
	c.timer = time.AfterFunc(timeout, func() {
		c.expired.Store(true)
		cut()
	})
	return c
}

func (c *clock) pause()  { c.timer.Stop() }
func (c *clock) resume() { c.timer.Reset(c.timeout) }
