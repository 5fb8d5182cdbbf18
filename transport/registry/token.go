package registry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// maxTokenAnswer bounds the answer of a token service.
	maxTokenAnswer = 1 << 20
	// maxToken bounds the token, which every request carries.
	maxToken = 64 << 10
	// clientID is what we call ourselves to a token service.
	clientID = "waybill"

	// defaultTokenLife is how long a token is good when its service doesn't
	// say, and the least it counts as (distribution token specification,
	// "Token response fields").
	defaultTokenLife = 60 * time.Second
	maxTokenLife     = 24 * time.Hour
)

// fetchToken asks the token service that d names for a token to read repo with.
func (a *authorizer) fetchToken(ctx context.Context, repo repository, at endpoint, d demand, cred credentials.Credential) (grant, error) {
	realm, err := checkRealm(at.base, d.params["realm"])
	if err != nil {
		return grant{}, err
	}
	r := &httpclient.Request{Header: http.Header{"Accept": {"application/json"}}, Floor: d.class}
	scopes := []string{repo.scope()}
	if s := strings.Fields(d.params["scope"]); len(s) > 0 && d.names(repo) {
		scopes = s
	}
	if cred.IdentityToken != "" {
		tokenByPost(r, realm, d.params["service"], scopes, cred)
	} else {
		tokenByGet(r, realm, d.params["service"], scopes, cred)
	}
	asked := time.Now()
	resp, err := at.http.Do(ctx, r)
	if err != nil {
		return grant{}, tokenFailure(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer+1))
	if err != nil {
		return grant{}, malformed(resp.ShownURL(), "token service: answer breaks off: %w", err)
	}
	token, life, err := parseToken(body)
	if err != nil {
		return grant{}, malformed(resp.ShownURL(), "token service: %w", err)
	}
	return grant{value: "Bearer " + token, expires: asked.Add(life)}, nil
}

// names reports whether the scope of a challenge is about repo; a remembered
// challenge is about another.
func (d demand) names(repo repository) bool {
	for _, s := range strings.Fields(d.params["scope"]) {
		if strings.HasPrefix(s, "repository:"+repo.name+":") {
			return true
		}
	}
	return false
}

// tokenByGet asks as the distribution token specification says, with the
// credential, if any, as Basic authentication.
func tokenByGet(r *httpclient.Request, realm *url.URL, service string, scopes []string, cred credentials.Credential) {
	q := realm.Query()
	if service != "" {
		q.Set("service", service)
	}
	q["scope"] = scopes
	q.Set("client_id", clientID)
	if cred.Username != "" {
		q.Set("account", cred.Username)
		r.Authorization = basic(cred)
	}
	u := *realm
	u.RawQuery = q.Encode()
	r.URL = u.String()
}

// tokenByPost asks with an identity token, as the distribution specification's
// OAuth2 token authentication says (RFC 6749 §6).
func tokenByPost(r *httpclient.Request, realm *url.URL, service string, scopes []string, cred credentials.Credential) {
	r.Method, r.URL = http.MethodPost, realm.String()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Secret = cred.IdentityToken
	r.Body = url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {cred.IdentityToken},
		"service":       {service},
		"scope":         {strings.Join(scopes, " ")},
		"client_id":     {clientID},
	}.Encode()
}

// tokenError is what is wrong with a token service's answer.
type tokenError string

func (e tokenError) Error() string { return string(e) }

// parseToken returns the token of an answer, and how long to use it.
func parseToken(body []byte) (string, time.Duration, error) {
	if len(body) > maxTokenAnswer {
		return "", 0, tokenError("answer is larger than 1 MiB")
	}
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"` // the same, by its name in OAuth2
		ExpiresIn   float64 `json:"expires_in"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", 0, tokenError("answer is not a JSON object with a token")
	}
	token := answer.Token
	if token == "" {
		token = answer.AccessToken
	}
	switch {
	case token == "":
		return "", 0, tokenError("answer holds no token")
	case len(token) > maxToken:
		return "", 0, tokenError("token is larger than 64 KiB")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", 0, tokenError("token holds characters no header can")
	}
	life := defaultTokenLife
	if answer.ExpiresIn > defaultTokenLife.Seconds() {
		life = time.Duration(min(answer.ExpiresIn, maxTokenLife.Seconds())) * time.Second
	}
	// Requests take a while to arrive.
	return token, life * 9 / 10, nil
}
