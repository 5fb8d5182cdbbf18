// Package registry reads blobs and manifests from registries that keep to the
// OCI distribution specification: the scheme docker, docker://HOST[:PORT]/REPO.
//
// A [Client] is the [transport.Transport] of that scheme, and for resolvers it
// reads manifests by tag or digest, whole and checked.
//
// # Authentication
//
// A registry is first asked anonymously. Its challenge (401 with
// WWW-Authenticate, RFC 9110 §11.6.1) is answered once: Basic with the
// credential of that registry, Bearer with a token from the service the
// challenge names (the CNCF distribution token specification), fetched by GET
// or, with an identity token, by an OAuth2 POST. Challenges and tokens are
// remembered, tokens per registry and repository until shortly before they
// expire, and many requests that need one wait for the same.
//
// The registry chooses the token service, so it is not trusted with much: the
// service must be https unless the registry itself is plain http, and must not
// be in a narrower network than the registry (CVE-2026-33990). It is sent the
// credential of the registry that names it, as docker does, and nothing else
// ever is: where a registry redirects blobs to storage elsewhere, no
// Authorization goes along.
//
// # Mirrors
//
// A [Place] is a registry or a mirror of one with what a name doesn't say of it:
// the registry it stands in for (?ns=, as containerd sends it), another path
// than /v2, how it is connected to. It stands in the query of a route's URI.
// Credentials are those of the host that is asked, never those of the registry
// it stands in for.
//
// # Registries that others name
//
// A route that somebody else's document named (Route.Remote) is asked without
// credentials, for an anonymous token at most, and keeps to the networks it is
// allowed, redirects and the token service included. What is learnt of the same
// registry otherwise, tokens above all, is kept apart. Its URI has no query.
//
// # Plain http
//
// Registries are asked over https. Where local policy allows plain http
// ([Options].PlainHTTP), a server that does not speak TLS is asked again over
// http, and that is remembered. A certificate that does not verify is never a
// reason to.
//
// # Why our own
//
// oras-go, ociregistry and regclient were read for this. All of them hide at
// least one of what the fetch engine needs: the answer to a range as the server
// gave it, the redirect target (remembered here for some seconds, so that the
// ranges of one blob don't each cost the registry a request), the address that
// was dialled (for the rules on redirects and token services), a reader without
// a copy or a check in between, and errors by kind with their Retry-After. What
// is left to share is small.
package registry
