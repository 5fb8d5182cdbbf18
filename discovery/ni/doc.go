// Package ni reads and writes named information URIs (RFC 6920), in which a
// digest is the name of a blob, and says where such a name is looked up on a web
// server.
//
//	ni:///sha-256;UyaQV-Ev4rdLoHyJJWCi11OHfrYv9E1aGQAlMO2X_-Q
//	ni://HOST/sha-256;UyaQV-Ev4rdLoHyJJWCi11OHfrYv9E1aGQAlMO2X_-Q?ct=text/plain
//	https://HOST/.well-known/ni/sha-256/UyaQV-Ev4rdLoHyJJWCi11OHfrYv9E1aGQAlMO2X_-Q
//
// Truncated hashes (sha-256-128 and shorter, RFC 6920 §9.4) are refused: what
// they name can't be verified as a whole. Human-speakable names (nih:, §7) are
// made of those and are refused as well. It asks nobody.
package ni
