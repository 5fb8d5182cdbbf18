package openssh

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
)

// knownLine is a line of known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
type knownLine struct {
	marker   string // "", cert-authority or revoked
	patterns []string
	key      ssh.PublicKey
	file     string
	number   int
}

// place names the line for errors.
func (l knownLine) place() string { return fmt.Sprintf("%s line %d", l.file, l.number) }

// matches reports whether the line is about name: a host, or [HOST]:PORT.
func (l knownLine) matches(name string) bool {
	if len(l.patterns) == 1 && strings.HasPrefix(l.patterns[0], "|") {
		return hashMatches(l.patterns[0], name)
	}
	return matchPatterns(name, l.patterns)
}

// hashMatches compares name with a hashed one, |1|SALT|HASH.
func hashMatches(hashed, name string) bool {
	fields := strings.Split(hashed, "|")
	if len(fields) != 4 || fields[1] != "1" {
		return false
	}
	salt, errSalt := base64.StdEncoding.DecodeString(fields[2])
	hash, errHash := base64.StdEncoding.DecodeString(fields[3])
	if errSalt != nil || errHash != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt) // the format's choice; it hides names, it doesn't vouch for keys
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), hash)
}

// parseKnownHosts returns the lines of a file. Those of another form, or with a
// key of an unknown type, are passed over as OpenSSH does: they vouch for
// nothing.
func parseKnownHosts(file string, content []byte) []knownLine {
	var lines []knownLine
	number := 0
	for text := range bytes.Lines(content) {
		number++
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts(text)
		if err != nil || marker != "" && marker != "cert-authority" && marker != "revoked" {
			continue
		}
		for i, h := range hosts {
			if !strings.HasPrefix(h, "|") {
				hosts[i] = strings.ToLower(h)
			}
		}
		lines = append(lines, knownLine{marker, hosts, key, file, number})
	}
	return lines
}

// hostKeys are the keys that may be presented by one host.
type hostKeys struct {
	s *settings
	// name is what lines are looked up for.
	name  string
	keys  []knownLine
	cas   []knownLine
	files []string
	// revoked holds keys never to be believed, in wire format.
	revoked map[string]string
}

// loadHostKeys reads what is known about the host of s.
func loadHostKeys(s *settings) (*hostKeys, error) {
	h := &hostKeys{s: s, revoked: map[string]string{}, name: s.hostKeyAlias}
	if h.name == "" {
		h.name = s.host
		if s.port != defaultPort {
			h.name = fmt.Sprintf("[%s]:%d", s.host, s.port)
		}
	}
	var lines []knownLine
	h.files = append(append(h.files, s.userKnownHosts...), s.globalKnownHosts...)
	for _, file := range h.files {
		content, err := readConfigFile(file, false)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
		lines = append(lines, parseKnownHosts(file, []byte(content))...)
	}
	for _, l := range lines {
		if l.marker == "revoked" { // for whichever host
			h.revoked[string(l.key.Marshal())] = l.place()
		}
	}
	h.take(lines, h.name)
	if len(h.keys)+len(h.cas) == 0 && s.hostKeyAlias == "" && h.name != s.host {
		// As OpenSSH does: a key known without the port is good for any. What
		// differs from it is unknown, not changed.
		h.take(lines, s.host)
	}
	return h, h.loadRevoked()
}

func (h *hostKeys) take(lines []knownLine, name string) {
	for _, l := range lines {
		switch {
		case !l.matches(name):
		case l.marker == "":
			h.keys = append(h.keys, l)
		case l.marker == "cert-authority":
			h.cas = append(h.cas, l)
		}
	}
}

// loadRevoked reads RevokedHostKeys. One that can't be read is an error: then
// every key may be a revoked one (ssh_config(5)).
func (h *hostKeys) loadRevoked() error {
	file := h.s.revokedHostKeys
	if file == "" {
		return nil
	}
	content, err := readConfigFile(file, false)
	if err != nil {
		return fmt.Errorf("RevokedHostKeys: %w", err)
	}
	if strings.HasPrefix(content, "SSHKRL") {
		return fmt.Errorf("RevokedHostKeys: %s is a binary key revocation list, which is not understood here; write the keys as text", file)
	}
	number := 0
	for line := range strings.Lines(content) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return fmt.Errorf("RevokedHostKeys: %s line %d: %w", file, number, err)
		}
		h.revoked[string(key.Marshal())] = fmt.Sprintf("%s line %d", file, number)
	}
	return nil
}

// check is the [ssh.HostKeyCallback].
func (h *hostKeys) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	plain := key
	cert, certified := key.(*ssh.Certificate)
	if certified {
		plain = cert.Key
		if err := h.checkRevoked(cert.SignatureKey, "authority"); err != nil {
			return err
		}
	}
	if err := h.checkRevoked(plain, "host key"); err != nil {
		return err
	}
	if certified && h.authority(cert.SignatureKey) {
		return h.checkCertificate(cert)
	}
	return h.checkPlain(plain)
}

func (h *hostKeys) checkRevoked(key ssh.PublicKey, what string) error {
	if place, revoked := h.revoked[string(key.Marshal())]; revoked {
		return fmt.Errorf("the %s of %s (%s) is revoked by %s: do not trust it", what, h.name, describe(key), place)
	}
	return nil
}

func (h *hostKeys) authority(key ssh.PublicKey) bool {
	for _, l := range h.cas {
		if bytes.Equal(l.key.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// checkCertificate checks a certificate of an authority that is believed.
func (h *hostKeys) checkCertificate(cert *ssh.Certificate) error {
	host := h.s.hostKeyAlias
	if host == "" {
		host = h.s.host
	}
	checker := ssh.CertChecker{IsHostAuthority: func(ssh.PublicKey, string) bool { return true }}
	if err := checker.CheckHostKey(net.JoinHostPort(host, "22"), nil, cert); err != nil {
		return fmt.Errorf("the certificate of %s, by an authority that is trusted (%s), is not valid: %w", h.name, describe(cert.SignatureKey), err)
	}
	return nil
}

func (h *hostKeys) checkPlain(key ssh.PublicKey) error {
	var others []string
	for _, l := range h.keys {
		if bytes.Equal(l.key.Marshal(), key.Marshal()) {
			return nil
		}
		if l.key.Type() == key.Type() {
			others = append(others, fmt.Sprintf("%s (%s)", describe(l.key), l.place()))
		}
	}
	file := "known_hosts"
	if len(h.files) > 0 {
		file = h.files[0]
	}
	if len(others) > 0 && h.keys[0].matches(h.name) {
		return fmt.Errorf("THE HOST KEY OF %s HAS CHANGED: it presents %s, known is %s; somebody may be in the middle. If its operator confirms the new key, "+
			"remove the old one with: ssh-keygen -f '%s' -R '%s' and trust the new one with: %s", h.name, describe(key), strings.Join(others, ", "), file, h.name, h.connect())
	}
	return fmt.Errorf("the host key of %s is not known: it presents %s, which is not in %s; compare that with what its operator says, then trust it with: %s",
		h.name, describe(key), strings.Join(h.files, ", "), h.connect())
}

// connect is the command that shows and stores the host's key.
func (h *hostKeys) connect() string {
	return "ssh -o StrictHostKeyChecking=ask " + sshArguments(h.s)
}

// sshArguments are the arguments of ssh(1) to connect as s says.
func sshArguments(s *settings) string {
	args := ""
	if s.port != defaultPort {
		args = fmt.Sprintf("-p %d ", s.port)
	}
	return args + s.user + "@" + s.alias
}

func describe(key ssh.PublicKey) string {
	return strings.TrimPrefix(key.Type(), "ssh-") + " " + ssh.FingerprintSHA256(key)
}
