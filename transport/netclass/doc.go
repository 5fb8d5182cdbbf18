// Package netclass tells how wide a network an address belongs to, and keeps
// connections that somebody else chose from reaching a narrower one.
//
// A URI that came from outside (a redirect, a token realm, a location
// document) is a request forgery waiting to happen: the public registry that
// redirects to http://169.254.169.254/ asks this machine to read its cloud's
// secrets. The rule here is that whoever is in a network of some [Class] may
// name places in networks as wide or wider, never narrower ones. A registry in
// a private network may redirect to its private storage; a public one may not.
//
// The check is on the address that is dialled, after the name was resolved
// ([Dialer]), since a name proves nothing: public names resolve to 127.0.0.1,
// and may do so only the second time they are asked.
package netclass
