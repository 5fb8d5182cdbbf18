package registry

import (
	"errors"
	"strings"
)

const (
	maxChallenges     = 16
	maxChallengeBytes = 16 << 10
)

// challenge is one way a server would accept a request (RFC 9110 §11.3).
type challenge struct {
	scheme string // lower case
	params map[string]string
}

var (
	errChallenge       = errors.New("malformed WWW-Authenticate header")
	errChallengeLength = errors.New("WWW-Authenticate header is too long (more than 16 KiB or 16 challenges)")
)

// parseChallenges parses the values of the WWW-Authenticate headers of an
// answer (RFC 9110 §11.6.1). It is strict: a header that can be read in two
// ways would let a server say one thing to us and another to somebody else.
func parseChallenges(values []string) ([]challenge, error) {
	var all []challenge
	for _, v := range values {
		if len(v) > maxChallengeBytes {
			return nil, errChallengeLength
		}
		p := challengeParser{rest: v}
		for p.separators(); p.rest != ""; p.separators() {
			ch, err := p.challenge()
			if err != nil {
				return nil, err
			}
			if all = append(all, ch); len(all) > maxChallenges {
				return nil, errChallengeLength
			}
		}
	}
	return all, nil
}

// challengeParser reads what is left of one header value.
type challengeParser struct{ rest string }

// challenge parses auth-scheme [ 1*SP ( token68 / #auth-param ) ]. It ends
// before the next challenge, which only differs from a parameter in that no
// "=" follows its token.
func (p *challengeParser) challenge() (challenge, error) {
	ch := challenge{scheme: strings.ToLower(p.token()), params: map[string]string{}}
	if ch.scheme == "" {
		return ch, errChallenge
	}
	if p.rest != "" && p.rest[0] == ',' {
		return ch, nil
	}
	if p.rest != "" && p.rest[0] != ' ' {
		return ch, errChallenge
	}
	p.space()
	if p.token68() {
		return ch, nil
	}
	for first := true; p.rest != ""; first = false {
		if !first && !p.separators() {
			return ch, errChallenge
		}
		name, value, ok, err := p.param()
		if err != nil {
			return ch, err
		}
		if !ok {
			return ch, nil
		}
		if _, twice := ch.params[name]; twice {
			return ch, errChallenge
		}
		ch.params[name] = value
		p.space()
	}
	return ch, nil
}

// param parses token BWS "=" BWS ( token / quoted-string ). Where no "="
// follows the token, nothing is consumed: it is the scheme of the next
// challenge.
func (p *challengeParser) param() (name, value string, ok bool, err error) {
	start := p.rest
	name = strings.ToLower(p.token())
	p.space()
	if name == "" || p.rest == "" || p.rest[0] != '=' {
		p.rest = start
		return "", "", false, nil
	}
	p.rest = p.rest[1:]
	p.space()
	if strings.HasPrefix(p.rest, `"`) {
		value, err = p.quotedString()
		return name, value, true, err
	}
	if value = p.token(); value == "" {
		return "", "", false, errChallenge
	}
	return name, value, true, nil
}

// token68 skips a token68 (RFC 9110 §11.2), if that is all there is before the
// next comma: what Negotiate sends. "a=" and "a==" are token68, "a=b" is not.
func (p *challengeParser) token68() bool {
	end := strings.IndexByte(p.rest, ',')
	if end < 0 {
		end = len(p.rest)
	}
	word := strings.TrimRight(p.rest[:end], " \t")
	body := strings.TrimRight(word, "=")
	if body == "" || strings.ContainsFunc(body, func(r rune) bool { return !isToken68(r) }) {
		return false
	}
	p.rest = p.rest[end:]
	return true
}

// quotedString parses a quoted-string (RFC 9110 §5.6.4).
func (p *challengeParser) quotedString() (string, error) {
	if !strings.HasPrefix(p.rest, `"`) {
		return "", errChallenge
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\':
			if i++; i == len(p.rest) || isControl(p.rest[i]) {
				return "", errChallenge
			}
			b.WriteByte(p.rest[i])
		case isControl(c):
			return "", errChallenge
		default:
			b.WriteByte(c)
		}
	}
	return "", errChallenge
}

// token parses 1*tchar (RFC 9110 §5.6.2), or returns "".
func (p *challengeParser) token() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !isTokenChar(r) })
	if end < 0 {
		end = len(p.rest)
	}
	t := p.rest[:end]
	p.rest = p.rest[end:]
	return t
}

// space skips optional white space.
func (p *challengeParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

// separators skips white space and commas (a list may have empty elements, RFC
// 9110 §5.6.1), and reports whether there was a comma or the end.
func (p *challengeParser) separators() bool {
	before := p.rest
	p.rest = strings.TrimLeft(p.rest, " \t,")
	return p.rest == "" || strings.Contains(before[:len(before)-len(p.rest)], ",")
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func isTokenChar(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func isToken68(r rune) bool { return isAlphanumeric(r) || strings.ContainsRune("-._~+/", r) }
