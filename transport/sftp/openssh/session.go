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
	// hungUp reports whether the server did.
	hungUp func() bool
	// late is whether it did while the user was asked; see waited.
	late bool

	ids     []identity
	ready   bool // ids were collected
	offered []string
	// typed is whether the user answered a question.
	typed bool
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

// asking asks the user, one question at a time. The server's time to answer
// doesn't run meanwhile.
func (s *session) asking(ask AskFunc, prompt string) ([]byte, error) {
	s.clock.pause()
	defer s.clock.resume()
	select {
	case s.dialer.terminal <- struct{}{}:
		defer func() { <-s.dialer.terminal }()
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
	return ask(s.ctx, prompt)
}

// waited notices if the server hung up while the user was asked, for this
// connection or another that wants to know the same.
func (s *session) waited() { s.late = s.hungUp() }

// errLate says that an answer came too late. It is known now.
var errLate = errors.New("the server hung up before the question was answered")

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
	if s.late { // package ssh takes it for one refusal more
		return nil, s.fail(transport.ErrTemporary, "%w", errLate)
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
	s.giveUp()
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
	return s.unauthorized(text)
}

// unauthorized is the error of a login that failed for the reason given, with
// what was noted on the way.
func (s *session) unauthorized(reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail(transport.ErrUnauthorized, "%s; see what works with: ssh -v %s",
		strings.Join(append([]string{reason}, s.notes...), "; "), sshArguments(s.settings))
}

// giveUp keeps a user whose answers were wrong from being asked again.
func (s *session) giveUp() {
	if s.typed {
		s.dialer.passwords.forget(s.String())
		s.dialer.passwords.giveUp(s.String())
		s.note("the password given on the terminal is wrong")
	}
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
