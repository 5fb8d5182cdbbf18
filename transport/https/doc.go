// Package https reads ranges of blobs that lie at a URL of their own on a web
// server: the schemes https and http. The route's URI is that URL, complete.
//
// User information in the URI is sent as Basic authentication (RFC 7617) to
// the URI's origin, and to nobody it redirects to. What the answers of a
// server mean is said in package httprange, where redirects may lead in package
// httpclient.
package https
