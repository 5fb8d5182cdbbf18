package openssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/waybill-project/waybill/transport"
)

// maxJumps is how many hosts a connection may lead through.
const maxJumps = 8

// Options says where a [Dialer] finds what it needs. The zero value is what
// OpenSSH uses.
type Options struct {
	// AskPassphrase asks for passphrases and passwords; nil is
	// [AskOnTerminal].
	AskPassphrase AskFunc
	// Home is the home directory, which holds .ssh; "" is the user's, $HOME.
	// (OpenSSH looks that up by the user's number, whatever $HOME says.)
	Home string
	// SystemConfig is the configuration of the machine; "" is
	// /etc/ssh/ssh_config.
	SystemConfig string
}

// Target is what to connect to.
type Target struct {
	// Host is a name, an address, or an alias of the configuration.
	Host string
	// Port is the TCP port; 0 leaves it to the configuration.
	Port int
	// User is whom to log in; "" leaves it to the configuration.
	User string
	// Password, if HasPassword, is the only way in that is tried.
	Password    string
	HasPassword bool
}

// Dialer connects to hosts. It remembers keys that were unlocked and passwords
// that were typed for as long as it lives. It is safe for concurrent use.
type Dialer struct {
	options   Options
	ask       AskFunc
	keys      keyring
	passwords passwords
	// terminal is held while the user is asked something.
	terminal chan struct{}
}

// New returns a dialer.
func New(o Options) *Dialer {
	d := &Dialer{options: o, ask: o.AskPassphrase, terminal: make(chan struct{}, 1)}
	if d.ask == nil {
		d.ask = AskOnTerminal
	}
	d.keys = keyring{ask: d.ask, keys: map[string]*keyFile{}}
	d.passwords = passwords{turn: make(chan struct{}, 1), known: map[string]string{}, gaveUp: map[string]bool{}}
	return d
}

// CheckTarget says what is wrong with a target, without asking anyone.
func CheckTarget(t Target) error {
	if err := validHost(t.Host); err != nil {
		return err
	}
	if t.User == "" {
		return nil
	}
	return validUser(t.User)
}

// Dial connects to t and logs in. Errors are [*transport.Error], or ctx's.
// Unknown, changed and revoked host keys are [transport.ErrRefused]; a server
// that doesn't let the user in is [transport.ErrUnauthorized]; one that has too
// many clients is [transport.ErrThrottled].
func (d *Dialer) Dial(ctx context.Context, t Target) (*Conn, error) {
	s, err := d.settings(ctx, t)
	if err != nil {
		return nil, err
	}
	c, err := d.connect(ctx, s, t, 0)
	for range s.prompts {
		if !errors.Is(err, errLate) {
			break
		}
		// A server hangs up on who takes longer than its LoginGraceTime.
		c, err = d.connect(ctx, s, t, 0)
	}
	return c, err
}

// settings evaluates the configuration for t.
func (d *Dialer) settings(ctx context.Context, t Target) (*settings, error) {
	fail := func(err error) (*settings, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, transport.Errorf(transport.ErrPermanent, "ssh://"+t.Host, "%w", err)
	}
	if err := CheckTarget(t); err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, "ssh:", "%w", err) // the name is not fit to be shown
	}
	me, err := user.Current()
	if err != nil {
		return fail(err)
	}
	e := &evaluation{ctx: ctx, home: d.options.Home, localUser: me.Username, alias: t.Host, user: t.User, values: map[string][]string{}}
	if e.home == "" {
		if e.home, err = os.UserHomeDir(); err != nil {
			return fail(err)
		}
	}
	if t.Port != 0 {
		e.values["port"] = []string{strconv.Itoa(t.Port)}
	}
	system := d.options.SystemConfig
	if system == "" {
		system = "/etc/ssh/ssh_config"
	}
	files := func() error { return e.files(filepath.Join(e.home, ".ssh", "config"), system) }
	if err := files(); err != nil {
		return fail(err)
	}
	if e.wantFinal {
		e.final = true
		if err := files(); err != nil {
			return fail(err)
		}
	}
	s, err := e.settings()
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// connect connects to the host of s, through others where it says so.
func (d *Dialer) connect(ctx context.Context, s *settings, t Target, jumps int) (*Conn, error) {
	known, err := loadHostKeys(s)
	if err != nil {
		return nil, s.fail(transport.ErrRefused, "%w", err)
	}
	config, err := s.negotiation()
	if err != nil {
		return nil, s.fail(transport.ErrPermanent, "%w", err)
	}
	algorithms, err := known.algorithms()
	if err != nil {
		return nil, s.fail(transport.ErrPermanent, "%w", err)
	}
	c, err := d.reach(ctx, s, jumps)
	if err != nil {
		return nil, err
	}
	try := &session{settings: s, ctx: ctx, dialer: d, given: t.Password, hasGiven: t.HasPassword, attempts: map[string]int{}}
	if err := c.handshake(try, known, &ssh.ClientConfig{Config: config, User: s.user, HostKeyAlgorithms: algorithms}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// reach makes the connection that SSH is to be spoken on.
func (d *Dialer) reach(ctx context.Context, s *settings, jumps int) (*Conn, error) {
	switch {
	case len(s.proxyJump) > 0:
		return d.jump(ctx, s, jumps)
	case s.proxyCommand != "":
		return startProxy(s)
	}
	timed, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no connection within %v", s.timeout))
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(timed, s.network, s.address())
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if timed.Err() != nil {
			err = context.Cause(timed)
		}
		return nil, s.fail(transport.ErrTemporary, "%w", err)
	}
	return newConn(nc, nil), nil
}

// jump connects through the last host of ProxyJump, itself reached through
// those before it.
func (d *Dialer) jump(ctx context.Context, s *settings, jumps int) (*Conn, error) {
	if jumps >= maxJumps {
		return nil, s.fail(transport.ErrPermanent, "more than %d jump hosts; does ProxyJump lead in a circle?", maxJumps)
	}
	last := len(s.proxyJump) - 1
	t, err := parseJump(s.proxyJump[last])
	if err != nil {
		return nil, s.fail(transport.ErrPermanent, "ProxyJump: %w", err)
	}
	via, err := d.settings(ctx, t)
	if err != nil {
		return nil, err
	}
	if last > 0 {
		via.proxyJump, via.proxyCommand = s.proxyJump[:last], ""
	}
	host, err := d.connect(ctx, via, t, jumps+1)
	if err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	nc, err := host.Client.DialContext(timed, "tcp", s.address())
	if err == nil {
		return newConn(nc, host.Close), nil
	}
	host.Close()
	var refused *ssh.OpenChannelError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		return nil, s.fail(transport.ErrPermanent, "jump host %s forbids forwarding (AllowTcpForwarding, PermitOpen)", via.address())
	}
	return nil, s.fail(transport.ErrTemporary, "jump host %s can't reach it: %w", via.address(), err)
}

// parseJump parses [USER@]HOST[:PORT] or ssh://[USER@]HOST[:PORT].
func parseJump(text string) (Target, error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "ssh://"), "/")
	var t Target
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		t.User, rest = rest[:at], rest[at+1:]
		if err := validUser(t.User); err != nil {
			return t, err
		}
	}
	t.Host = rest
	if host, port, err := net.SplitHostPort(rest); err == nil {
		number, err := strconv.Atoi(port)
		if err != nil || number < 1 || number > 65535 {
			return t, fmt.Errorf("port %q is not a number from 1 to 65535", port)
		}
		t.Host, t.Port = host, number
	}
	t.Host = strings.TrimSuffix(strings.TrimPrefix(t.Host, "["), "]")
	return t, validHost(t.Host)
}

// fail returns an error that names the connection.
func (s *settings) fail(kind error, format string, args ...any) *transport.Error {
	return transport.Errorf(kind, s.String(), format, args...)
}
