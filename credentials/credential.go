package credentials

import (
	"fmt"
	"log/slog"
)

// Credential is what a registry is logged in to with. At most one of its three
// kinds is set: user name and password, identity token, registry token.
type Credential struct {
	// Username and Password are for Basic authentication, with the registry
	// or its token service.
	Username, Password string
	// IdentityToken is an OAuth2 refresh token for the token service.
	IdentityToken string
	// RegistryToken is a bearer token for the registry itself.
	RegistryToken string
}

// IsZero reports whether there is no credential: the registry is asked
// anonymously.
func (c Credential) IsZero() bool { return c == Credential{} }

// Format writes which kind of credential it is, never a secret, whatever the
// verb: a Credential in a log or an error gives nothing away.
func (c Credential) Format(f fmt.State, _ rune) {
	kind := "user name and password"
	switch {
	case c.IsZero():
		kind = "none"
	case c.RegistryToken != "":
		kind = "registry token"
	case c.IdentityToken != "":
		kind = "identity token"
	}
	_, _ = fmt.Fprintf(f, "credential(%s)", kind)
}

// LogValue returns what Format writes.
func (c Credential) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }
