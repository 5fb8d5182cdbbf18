package openssh

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	defaultPort = 22
	// defaultTimeout is how long a server may take to accept a connection and
	// exchange keys where no ConnectTimeout says so.
	defaultTimeout = 30 * time.Second
	// maxTimeout bounds what ConnectTimeout may ask for.
	maxTimeout = time.Hour
	// defaultPrompts is NumberOfPasswordPrompts' default.
	defaultPrompts = 3
	maxPrompts     = 10
)

// defaultIdentities are the key files tried where none is configured, in
// OpenSSH's order; keys on hardware tokens are the agent's business.
var defaultIdentities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"}

// settings are what configuration says about one host.
type settings struct {
	alias string // the host as the user wrote it
	host  string // the one to connect to
	port  int
	user  string

	network      string // tcp, tcp4 or tcp6
	timeout      time.Duration
	proxyCommand string
	proxyJump    []string

	hostKeyAlias      string
	userKnownHosts    []string
	globalKnownHosts  []string
	revokedHostKeys   string
	hostKeyAlgorithms string
	ciphers           string
	macs              string
	kex               string

	identities     []string
	configured     bool // identities are named in the configuration
	certificates   []string
	identitiesOnly bool
	agent          string // socket; "" is none

	publicKey, interactive, password, batch bool
	prompts                                 int

	home, localUser string
}

// address is HOST:PORT.
func (s *settings) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// String names the connection as a URI for errors.
func (s *settings) String() string {
	return "ssh://" + s.user + "@" + s.address()
}

// settings derives the settings from the values found.
func (e *evaluation) settings() (*settings, error) {
	s := &settings{
		alias: e.alias, host: strings.ToLower(e.alias), port: defaultPort, user: e.localUser,
		home: e.home, localUser: e.localUser, prompts: defaultPrompts, timeout: defaultTimeout,
	}
	if user := e.value("user"); user != "" {
		s.user = user
	}
	if e.user != "" {
		s.user = e.user
	}
	if name := e.value("hostname"); name != "" {
		host, err := expand(name, map[byte]string{'h': e.alias, 'n': e.alias})
		if err != nil {
			return nil, fmt.Errorf("hostname: %w", err)
		}
		s.host = strings.ToLower(host)
	}
	if err := validHost(s.host); err != nil {
		return nil, err
	}
	if err := validUser(s.user); err != nil {
		return nil, err
	}
	for _, set := range []func(*evaluation) error{s.setNumbers, s.setSwitches, s.setProxy, s.setHostKeys, s.setIdentities} {
		if err := set(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *settings) setNumbers(e *evaluation) error {
	seconds := int(defaultTimeout / time.Second)
	for _, n := range []struct {
		keyword  string
		to       *int
		min, max int
	}{
		{"port", &s.port, 1, 65535},
		{"connecttimeout", &seconds, 0, int(maxTimeout / time.Second)},
		{"numberofpasswordprompts", &s.prompts, 0, maxPrompts},
	} {
		text := e.value(n.keyword)
		if text == "" || n.keyword == "connecttimeout" && text == "none" {
			continue
		}
		number, err := strconv.Atoi(text)
		if err != nil || number < n.min || number > n.max {
			return fmt.Errorf("%s is %q; it must be a number from %d to %d", n.keyword, text, n.min, n.max)
		}
		*n.to = number
	}
	if seconds > 0 {
		s.timeout = time.Duration(seconds) * time.Second
	}
	switch family := e.value("addressfamily"); family {
	case "", "any":
		s.network = "tcp"
	case "inet":
		s.network = "tcp4"
	case "inet6":
		s.network = "tcp6"
	default:
		return fmt.Errorf("addressfamily is %q; it must be any, inet or inet6", family)
	}
	return nil
}

func (s *settings) setSwitches(e *evaluation) error {
	for _, b := range []struct {
		keyword string
		to      *bool
		normal  bool
	}{
		{"identitiesonly", &s.identitiesOnly, false},
		{"batchmode", &s.batch, false},
		{"passwordauthentication", &s.password, true},
		{"kbdinteractiveauthentication", &s.interactive, true},
		{"pubkeyauthentication", &s.publicKey, true},
	} {
		switch value := strings.ToLower(e.value(b.keyword)); value {
		case "":
			*b.to = b.normal
		case "yes", "true", "unbound", "host-bound": // the last two of PubkeyAuthentication
			*b.to = true
		case "no", "false":
			*b.to = false
		default:
			return fmt.Errorf("%s is %q; it must be yes or no", b.keyword, value)
		}
	}
	return nil
}

func (s *settings) setProxy(e *evaluation) error {
	if command := e.value("proxycommand"); !strings.EqualFold(command, "none") {
		s.proxyCommand = command
	}
	jump := e.value("proxyjump")
	if jump == "" || strings.EqualFold(jump, "none") {
		return nil
	}
	jump, err := expand(jump, s.tokens())
	if err != nil {
		return fmt.Errorf("ProxyJump: %w", err)
	}
	s.proxyJump = strings.Split(jump, ",")
	return nil
}

func (s *settings) setHostKeys(e *evaluation) (err error) {
	s.hostKeyAlias = strings.ToLower(e.value("hostkeyalias"))
	s.hostKeyAlgorithms = e.value("hostkeyalgorithms")
	s.ciphers = e.value("ciphers")
	s.macs = e.value("macs")
	s.kex = e.value("kexalgorithms")
	if s.userKnownHosts, err = s.paths(e, "userknownhostsfile", "~/.ssh/known_hosts", "~/.ssh/known_hosts2"); err != nil {
		return err
	}
	if s.globalKnownHosts, err = s.paths(e, "globalknownhostsfile", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"); err != nil {
		return err
	}
	revoked, err := s.paths(e, "revokedhostkeys")
	if len(revoked) > 0 {
		s.revokedHostKeys = revoked[0]
	}
	return err
}

func (s *settings) setIdentities(e *evaluation) (err error) {
	s.configured = len(e.values["identityfile"]) > 0
	if s.identities, err = s.paths(e, "identityfile", defaultIdentities...); err != nil {
		return err
	}
	if s.certificates, err = s.paths(e, "certificatefile"); err != nil {
		return err
	}
	agent := e.value("identityagent")
	switch {
	case agent == "" || agent == "SSH_AUTH_SOCK":
		s.agent = os.Getenv("SSH_AUTH_SOCK")
	case strings.EqualFold(agent, "none"):
	case strings.HasPrefix(agent, "$") && !strings.HasPrefix(agent, "${"):
		s.agent = os.Getenv(agent[1:])
	default:
		s.agent, err = s.path(agent)
	}
	return err
}

// paths returns the file names of a keyword, expanded, or those of the default.
// "none" is no file.
func (s *settings) paths(e *evaluation, keyword string, normal ...string) ([]string, error) {
	names := e.values[keyword]
	if len(names) == 0 {
		names = normal
	}
	var paths []string
	for _, name := range names {
		if strings.EqualFold(name, "none") {
			continue
		}
		path, err := s.path(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyword, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// path expands a file name: ~/, ${VARIABLE} and tokens.
func (s *settings) path(name string) (string, error) {
	name, err := expandVariables(name)
	if err != nil {
		return "", err
	}
	name, err = expand(name, s.tokens())
	if err != nil {
		return "", err
	}
	switch {
	case name == "~" || strings.HasPrefix(name, "~/"):
		return filepath.Join(s.home, name[1:]), nil
	case strings.HasPrefix(name, "~"):
		return "", fmt.Errorf("%s: another user's home directory; write the path", name)
	}
	return name, nil
}

// tokens are the %-sequences of ssh_config(5), TOKENS, that can stand in what
// is used here.
func (s *settings) tokens() map[byte]string {
	name, _ := os.Hostname() // "" where this machine has none
	short, _, _ := strings.Cut(name, ".")
	key := s.hostKeyAlias
	if key == "" {
		key = s.alias
	}
	return map[byte]string{
		'd': s.home, 'h': s.host, 'i': strconv.Itoa(os.Getuid()), 'k': key, 'L': short, 'l': name,
		'n': s.alias, 'p': strconv.Itoa(s.port), 'r': s.user, 'u': s.localUser,
	}
}

// shellLine expands the tokens of a line for the shell. Host and user may come
// from a URI that was pasted from anywhere: one the shell could take for more
// than a word is refused.
func (s *settings) shellLine(command string) (string, error) {
	for what, value := range map[string]string{"host": s.host, "user": s.user} {
		if strings.ContainsFunc(value, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+@:%,=", r)
		}) {
			return "", fmt.Errorf("%s %q can't be handed to a shell command", what, value)
		}
	}
	return expand(command, s.tokens())
}

// expand replaces %-sequences; %% is a percent sign.
func expand(text string, tokens map[byte]string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			out.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", fmt.Errorf("%q ends in a single %%", text)
		}
		value, ok := tokens[text[i]]
		switch {
		case text[i] == '%':
			value = "%"
		case !ok:
			return "", fmt.Errorf("%%%c in %q is not known here", text[i], text)
		}
		out.WriteString(value)
	}
	return out.String(), nil
}

// expandVariables replaces ${NAME}. A variable that isn't set is an error, as
// in OpenSSH.
func expandVariables(text string) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, rest, closed := strings.Cut(after, "}")
		value, set := os.LookupEnv(name)
		if !closed || !set {
			return "", fmt.Errorf("environment variable %q is not set", name)
		}
		out.WriteString(value)
		text = rest
	}
}

// validHost refuses what is no name or address of a host.
func validHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() && validZone(addr.Zone()) {
		return nil
	}
	bad := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_", r)
	}
	if host == "" || len(host) > 253 || host[0] == '-' || strings.ContainsFunc(host, bad) {
		return fmt.Errorf("%q is no host name: letters, digits, '.', '-' and '_' may be in it, and '-' not first", host)
	}
	return nil
}

func validZone(zone string) bool {
	return !strings.ContainsFunc(zone, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_", r)
	})
}

// validUser refuses names of users that could be taken for an option, or that
// no terminal should be shown.
func validUser(user string) error {
	if user == "" || len(user) > 256 || user[0] == '-' || strings.ContainsFunc(user, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%q is no user name: it may not be empty, start with '-' or hold control characters", user)
	}
	return nil
}
