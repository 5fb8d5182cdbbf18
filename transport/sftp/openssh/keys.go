package openssh

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile is the largest key or certificate that is read, in bytes.
const maxKeyFile = 1 << 20

// keyring holds the key files that were read, so that a passphrase is asked for
// once.
type keyring struct {
	ask AskFunc

	mu   sync.Mutex
	keys map[string]*keyFile
}

// keyFile is a private key. It is a [ssh.AlgorithmSigner] that asks for the
// passphrase when it first signs, which is when a server accepted the key.
type keyFile struct {
	path   string
	ask    AskFunc
	public ssh.PublicKey

	// turn is held while unlocking.
	turn   chan struct{}
	signer ssh.Signer // nil while locked
	pem    []byte
	// gaveUp is why the key stays locked.
	gaveUp error
}

// errNoFile says that a key file isn't there.
var errNoFile = errors.New("no such file")

// load reads the private key at path, once.
func (r *keyring) load(path string) (*keyFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.keys[path]; k != nil {
		return k, nil
	}
	content, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	k := &keyFile{path: path, ask: r.ask, turn: make(chan struct{}, 1)}
	var encrypted *ssh.PassphraseMissingError
	k.signer, err = ssh.ParsePrivateKey(content)
	switch {
	case errors.As(err, &encrypted):
		k.pem, k.public = content, encrypted.PublicKey
		if k.public == nil { // of the older formats; ssh-keygen puts the public half beside them
			k.public, _ = readPublic(path + ".pub")
		}
		if k.public == nil {
			return nil, fmt.Errorf("key %s is encrypted and there is no %s.pub: make it with ssh-keygen -y", path, path)
		}
	case err != nil:
		return nil, fmt.Errorf("key %s: %w", path, err)
	default:
		k.public = k.signer.PublicKey()
	}
	r.keys[path] = k
	return k, nil
}

// readPrivate returns the content of a private key. As with OpenSSH, one that
// others may read is not used.
func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoFile
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(owner.Uid) == os.Getuid() && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s can be read by others (mode %#o); chmod 600 it", path, info.Mode().Perm())
	}
	return readLimited(f, path)
}

// readPublic returns the public key, or the certificate, in a file.
func readPublic(path string) (ssh.PublicKey, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoFile
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := readLimited(f, path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

func readLimited(f *os.File, path string) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(content) > maxKeyFile {
		err = fmt.Errorf("%s is larger than the limit of %d bytes", path, maxKeyFile)
	}
	return content, err
}

// unlocking is a key about to be used for one connection: its signer may ask,
// until ctx ends.
type unlocking struct {
	key     *keyFile
	session *session
}

// PublicKey returns the public half.
func (u unlocking) PublicKey() ssh.PublicKey { return u.key.public }

// Sign signs with the key, after asking for its passphrase.
func (u unlocking) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return u.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm is as Sign, with an algorithm for keys that have several.
func (u unlocking) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := u.key.unlock(u.session)
	if err != nil {
		u.session.note("%v", err)
		return nil, err
	}
	if s, ok := signer.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return s.SignWithAlgorithm(rand, data, algorithm)
	}
	return signer.Sign(rand, data)
}

// unlock asks for the passphrase of a locked key.
func (k *keyFile) unlock(s *session) (ssh.Signer, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
	defer s.waited()
	if k.signer != nil || k.gaveUp != nil {
		return k.signer, k.gaveUp
	}
	if s.batch {
		return nil, fmt.Errorf("key %s is encrypted, and BatchMode forbids asking; add it to an ssh-agent: ssh-add %s", k.path, k.path)
	}
	tries := max(1, s.prompts)
	for range tries {
		passphrase, err := s.asking(k.ask, fmt.Sprintf("Passphrase of the key %s: ", k.path))
		if err != nil {
			return nil, k.giveUp(s.ctx, err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(k.pem, passphrase)
		clear(passphrase)
		if err == nil {
			k.signer, k.pem = signer, nil
			return signer, nil
		}
		if !errors.Is(err, x509.IncorrectPasswordError) {
			k.gaveUp = fmt.Errorf("key %s: %w", k.path, err)
			return nil, k.gaveUp
		}
	}
	k.gaveUp = fmt.Errorf("key %s is encrypted, and the passphrase was wrong %d times", k.path, tries)
	return nil, k.gaveUp
}

// giveUp remembers that nobody answered, but not that this connection isn't
// wanted any more.
func (k *keyFile) giveUp(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, ErrNoTerminal) {
		err = fmt.Errorf("key %s is encrypted and there is no terminal to ask for the passphrase; add it to an ssh-agent: ssh-add %s", k.path, k.path)
	} else {
		err = fmt.Errorf("key %s is encrypted: %w", k.path, err)
	}
	k.gaveUp = err
	return err
}
