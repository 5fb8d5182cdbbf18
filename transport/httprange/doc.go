// Package httprange reads one byte range of a blob with one HTTP GET, and
// gives every answer a server may make of that its defined outcome.
//
// A range request (RFC 9110 §14) is a wish: servers may ignore it, answer
// another range, or several at once. Whoever assembles a blob from ranges of
// unlike servers must know which of these happened before the first byte is
// used. Outcomes are kinds of [transport.Error]:
//
//	206 with exactly the range asked              the body
//	206 with any other, none, or multipart        ErrPermanent
//	200 to a range                                ErrRangeUnsupported
//	200 to the whole blob                         the body
//	206 to the whole blob                         ErrPermanent
//	a size other than the blob's                  ErrPermanent
//	Content-Encoding other than identity          ErrPermanent
//	401, 403                                      ErrUnauthorized
//	404, 410                                      ErrNotFound
//	429; 503 with Retry-After                     ErrThrottled
//	408, other 5xx, failing network               ErrTemporary
//	416, other 3xx and 4xx, certificates          ErrPermanent
//	more bytes than asked                         ErrPermanent, by Read
//	fewer bytes than asked                        ErrTemporary, by Read,
//	                                              and io.ErrUnexpectedEOF
//
// Content codings are asked for by no request and decoded never: a digest is
// about the bytes as stored (RFC 9530 §4 calls them the representation, whose
// coding is part of it).
//
// Reads of 4 KiB and more go from the socket into the caller's buffer without
// another copy. A range read to its end leaves its connection to the next one;
// one closed early costs the connection and nothing else: the rest is not
// awaited.
package httprange
