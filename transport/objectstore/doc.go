// Package objectstore is what object stores with an HTTP API of their own share
// below their transports: how a place's URI is read ([Form]), how an object's URL is made ([Key], [URL]), what the
// XML of an error says ([Explain]), how large an object is ([Size]), and bearer
// tokens that expire ([Tokens]).
//
// It knows no store. Ranges are read with package httprange, whose answer
// semantics hold here too.
package objectstore
