package realserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

const (
	tokenService = "registry.test"
	tokenIssuer  = "waybill test issuer"
)

// TokenServer issues bearer tokens as the distribution project's token
// specification says: GET realm?service=…&scope=… with Basic credentials
// answers {"token": JWT}.
type TokenServer struct {
	// URL is the realm.
	URL string

	user, password string
	certFile       string
	certDER        []byte
	key            *ecdsa.PrivateKey
	issued         atomic.Int64
	server         *httptest.Server
}

// StartTokenServer starts a token server that knows one user. Its signing
// certificate is written into dir, for the registry to trust.
func StartTokenServer(dir, user, password string) (*TokenServer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	s := &TokenServer{
		user: user, password: password,
		key: key, certDER: der, certFile: filepath.Join(dir, "token.crt"),
	}
	if err := writePEM(s.certFile, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	s.server = httptest.NewServer(http.HandlerFunc(s.answer))
	s.URL = s.server.URL + "/token"
	return s, nil
}

// Issued is how many tokens were handed out.
func (s *TokenServer) Issued() int64 { return s.issued.Load() }

// Stop ends the server.
func (s *TokenServer) Stop() { s.server.Close() }

func (s *TokenServer) answer(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if !ok || user != s.user || password != s.password {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return
	}
	token, err := s.sign(user, r.URL.Query()["scope"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.issued.Add(1)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300}) // the client is gone
}

// access is one entry of a token's "access" claim.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// sign makes the JWT that grants the scopes asked for
// ("repository:NAME:pull,push", several separated by spaces).
func (s *TokenServer) sign(user string, scopes []string) (string, error) {
	var grants []access
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		if i := strings.LastIndex(rest, ":"); i >= 0 {
			grants = append(grants, access{Type: kind, Name: rest[:i], Actions: strings.Split(rest[i+1:], ",")})
		}
	}
	header := map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.certDER)}}
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": tokenIssuer, "aud": tokenService, "sub": user, "jti": rand.Text(),
		"iat": now, "nbf": now - 60, "exp": now + 300, "access": grants,
	}
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	payload := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(payload))
	r, sig, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	// RFC 7518 §3.4: R and S, 32 bytes each.
	raw := append(r.FillBytes(make([]byte, 32)), sig.FillBytes(make([]byte, 32))...)
	return payload + "." + base64.RawURLEncoding.EncodeToString(raw), nil
}
