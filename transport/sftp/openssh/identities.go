package openssh

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// identity is a key to offer to a server.
type identity struct {
	name   string // for errors
	signer ssh.Signer
}

// identities returns the keys to offer, in OpenSSH's order: certificates, keys
// of the agent that are configured, other keys of the agent, keys of files.
// What can't be used is noted.
func (s *session) identities(r *keyring) []identity {
	var certificates, files []identity
	wanted := map[string]bool{} // public keys, in wire format
	inFiles := map[string]bool{}
	for _, path := range s.settings.identities {
		key, err := r.load(path)
		if err != nil {
			s.noteKey(path, err, wanted)
			continue
		}
		wanted[string(key.public.Marshal())] = true
		inFiles[string(key.public.Marshal())] = true
		files = append(files, identity{"key " + path, unlocking{key, s}})
		certificates = append(certificates, s.certificates(path, key)...)
	}
	fromAgent := s.agentKeys()
	var chosen, others []identity
	for _, id := range fromAgent {
		public := id.signer.PublicKey()
		switch {
		case wanted[string(plainKey(public).Marshal())]:
			chosen = append(chosen, id)
		case !s.identitiesOnly:
			others = append(others, id)
		}
	}
	// A key that the agent has is not asked for from its file.
	var remaining []identity
	for _, id := range files {
		if !holds(chosen, id.signer.PublicKey()) {
			remaining = append(remaining, id)
		}
	}
	all := append(certificates, chosen...)
	all = append(all, others...)
	return append(all, remaining...)
}

// noteKey says why a key file isn't used. If only its public half is there, the
// agent may have it.
func (s *session) noteKey(path string, err error, wanted map[string]bool) {
	if errors.Is(err, errNoFile) || s.settings.configured {
		if public, errPublic := readPublic(path + ".pub"); errPublic == nil {
			wanted[string(public.Marshal())] = true
		} else if public, errPublic := readPublic(path); errPublic == nil { // IdentityFile may name the public half
			wanted[string(public.Marshal())] = true
			return
		}
	}
	switch {
	case errors.Is(err, errNoFile) && !s.settings.configured:
	case errors.Is(err, errNoFile):
		s.note("key %s: %v", path, err)
	default:
		s.note("%v", err)
	}
}

// certificates returns the certificates of a key: KEY-cert.pub and those of
// CertificateFile that are about it.
func (s *session) certificates(path string, key *keyFile) []identity {
	var all []identity
	for i, file := range append([]string{path + "-cert.pub"}, s.settings.certificates...) {
		public, err := readPublic(file)
		if err != nil {
			if i > 0 || !errors.Is(err, errNoFile) {
				s.note("certificate %s: %v", file, err)
			}
			continue
		}
		cert, ok := public.(*ssh.Certificate)
		if !ok || !bytes.Equal(cert.Key.Marshal(), key.public.Marshal()) {
			continue // of another key
		}
		signer, err := ssh.NewCertSigner(cert, unlocking{key, s})
		if err != nil {
			s.note("certificate %s: %v", file, err)
			continue
		}
		all = append(all, identity{"certificate " + file, signer})
	}
	return all
}

// agentKeys returns the keys of the agent, if there is one. The connection to
// it lasts as long as the session.
func (s *session) agentKeys() []identity {
	if s.settings.agent == "" {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(s.ctx, "unix", s.settings.agent)
	if err != nil {
		s.note("agent: %v", err)
		return nil
	}
	s.onEnd(func() { conn.Close() })
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		s.note("agent %s: %v", s.settings.agent, err)
		return nil
	}
	var all []identity
	for _, signer := range signers {
		all = append(all, identity{fmt.Sprintf("agent key %s", describe(signer.PublicKey())), signer})
	}
	return all
}

func holds(ids []identity, key ssh.PublicKey) bool {
	for _, id := range ids {
		if bytes.Equal(id.signer.PublicKey().Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// plainKey returns the key that a certificate is about, or the key itself.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}
