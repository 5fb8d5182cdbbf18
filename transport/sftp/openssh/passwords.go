package openssh

import (
	"errors"
	"sync"

	"github.com/waybill-project/waybill/transport/httpclient"
)

// passwords holds the answers users gave, by connection, so that a second one
// to the same server isn't asked for.
type passwords struct {
	// turn is held while asking: one question at a time.
	turn chan struct{}

	mu     sync.Mutex
	known  map[string]string
	gaveUp map[string]bool
}

func (p *passwords) get(connection string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	password, ok := p.known[connection]
	return password, ok
}

func (p *passwords) put(connection, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[connection] = password
}

// forget removes a password that was wrong.
func (p *passwords) forget(connection string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, connection)
}

// giveUp keeps a connection's user from being asked again.
func (p *passwords) giveUp(connection string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gaveUp[connection] = true
}

func (p *passwords) mayAsk(connection string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.gaveUp[connection]
}

// askOne has the user answer one question. The answer is kept for the next
// connection where it is a password, and not, say, a number that is good once.
func (s *session) askOne(question string, keep bool) (string, error) {
	connection := s.settings.String()
	all := &s.dialer.passwords
	defer s.waited()
	if keep {
		select { // whoever asks now may learn what we want to know
		case all.turn <- struct{}{}:
			defer func() { <-all.turn }()
		case <-s.ctx.Done():
			return "", s.ctx.Err()
		}
		if password, ok := all.get(connection); ok && s.attempts[methodInteractive]+s.attempts[methodPassword] == 1 {
			return password, nil
		}
		all.forget(connection)
	}
	// The server's words: nothing in them may act on the terminal.
	prompt := s.user + "@" + s.host + ": " + httpclient.OneLine(question) + " "
	answer, err := s.asking(s.dialer.ask, prompt)
	if err != nil {
		if s.ctx.Err() == nil {
			all.giveUp(connection)
		}
		if errors.Is(err, ErrNoTerminal) {
			s.note("there is no terminal to ask for a password")
		} else {
			s.note("asking: %v", err)
		}
		return "", err
	}
	s.typed = true
	if keep {
		all.put(connection, string(answer))
	}
	return string(answer), nil
}
