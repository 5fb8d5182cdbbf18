package openssh

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// hostKeyOrder is the order in which kinds of host key are liked: the newest
// first, as in OpenSSH.
var hostKeyOrder = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

var hostCertificateOrder = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// algorithms returns the kinds of host key to ask for. A server has several
// keys and shows one: the kinds that known_hosts holds come first, or a known
// server would look like a changed one.
func (h *hostKeys) algorithms() ([]string, error) {
	supported := slices.Concat(hostCertificateOrder, hostKeyOrder)
	if h.s.hostKeyAlgorithms != "" {
		return choose("HostKeyAlgorithms", h.s.hostKeyAlgorithms, slices.Concat(hostKeyOrder, hostCertificateOrder), supported)
	}
	var first []string
	if len(h.cas) > 0 {
		first = hostCertificateOrder
	}
	for _, algorithm := range hostKeyOrder {
		if slices.ContainsFunc(h.keys, func(l knownLine) bool { return keyType(algorithm) == l.key.Type() }) {
			first = append(first[:len(first):len(first)], algorithm)
		}
	}
	rest := slices.DeleteFunc(slices.Concat(hostKeyOrder, hostCertificateOrder), func(a string) bool { return slices.Contains(first, a) })
	return slices.Concat(first, rest), nil
}

// keyType is the type of the keys that an algorithm signs with.
func keyType(algorithm string) string {
	if algorithm == ssh.KeyAlgoRSASHA256 || algorithm == ssh.KeyAlgoRSASHA512 {
		return ssh.KeyAlgoRSA
	}
	return algorithm
}

// negotiation returns the ciphers, MACs and key exchanges to offer.
func (s *settings) negotiation() (c ssh.Config, err error) {
	all := ssh.SupportedAlgorithms()
	for _, list := range []struct {
		keyword, configured string
		normal, supported   []string
		to                  *[]string
	}{
		{"Ciphers", s.ciphers, fastCiphers(all.Ciphers), all.Ciphers, &c.Ciphers},
		{"MACs", s.macs, all.MACs, all.MACs, &c.MACs},
		{"KexAlgorithms", s.kex, all.KeyExchanges, all.KeyExchanges, &c.KeyExchanges},
	} {
		*list.to = list.normal
		if list.configured != "" {
			if *list.to, err = choose(list.keyword, list.configured, list.normal, list.supported); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

// fastCiphers puts first what this processor is fast at: with instructions for
// AES and GCM twice as fast as ChaCha20, without them several times slower.
func fastCiphers(ciphers []string) []string {
	hasAES := cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || runtime.GOARCH == "s390x"
	first := ssh.CipherAES128GCM
	if !hasAES {
		first = ssh.CipherChaCha20Poly1305
	}
	rest := slices.DeleteFunc(slices.Clone(ciphers), func(c string) bool { return c == first })
	return append([]string{first}, rest...)
}

// choose applies a list as ssh_config(5) has it: names to use, or after '+'
// names to add to the normal ones, after '-' patterns to remove from them,
// after '^' names to put first. Names that aren't supported are passed over.
func choose(keyword, list string, normal, supported []string) ([]string, error) {
	operation := byte(0)
	if strings.ContainsRune("+-^", rune(list[0])) {
		operation, list = list[0], list[1:]
	}
	var named []string
	for _, pattern := range strings.Split(list, ",") {
		for _, name := range supported {
			if matchPattern(name, pattern) && !slices.Contains(named, name) {
				named = append(named, name)
			}
		}
	}
	isNamed := func(name string) bool { return slices.Contains(named, name) }
	without := slices.DeleteFunc(slices.Clone(normal), isNamed)
	result := named
	switch operation {
	case '+':
		result = slices.Concat(normal, slices.DeleteFunc(named, func(name string) bool { return slices.Contains(normal, name) }))
	case '-':
		result = without
	case '^':
		result = slices.Concat(named, without)
	}
	if len(result) == 0 {
		return nil, fmt.Errorf("%s %s leaves nothing that is supported here: %s", keyword, list, strings.Join(supported, ","))
	}
	return result, nil
}
