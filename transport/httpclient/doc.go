// Package httpclient is the HTTP client below every transport that speaks
// HTTP. It makes one request, follows redirects by rules that keep secrets and
// private networks where they are, and turns whatever happens into a
// [transport.Error].
//
// # Redirects
//
// They are followed by hand, at most [MaxRedirects]:
//   - Authorization stays with the origin (scheme, host and port) it was given
//     for, and once left behind it does not come back. There are no cookies.
//   - https is never left for http.
//   - A signed request isn't redirected: a signature is for one URL.
//   - No redirect leads from a wider network to a narrower one, judged on the
//     addresses dialled; see package netclass. Behind a proxy, which resolves
//     names itself, only what the name alone tells can be judged (an address,
//     localhost), and a name counts as public.
//
// # Connections
//
// Connections are pooled by what they were allowed to reach, so that one made
// for a request that may go anywhere never serves one that may not. There is no
// timeout on a whole request, since a large blob may take hours: dialling and
// the TLS handshake have theirs, and everything else ends with its context.
//
// Only HTTP/1.1 is spoken, on purpose. Bulk ranges over TLS on the loopback
// interface of a two-core machine, with Go's client and server, cost
//
//	                          1 at a time     4 at a time
//	HTTP/1.1                  1258 MB/s       2022 MB/s
//	HTTP/2                     693 MB/s        784 MB/s
//	HTTP/2, frames of 1 MiB                   1191 MB/s
//
// and HTTP/2 takes about twice the CPU time per byte: every byte is copied once
// more into a flow-controlled buffer, and all streams share one TCP connection,
// one TLS cipher stream (one core) and one congestion window, while a striped
// download wants the opposite. BenchmarkProtocol repeats the measurement.
//
// # Certificates
//
// Certificate authorities and client certificates are found per host in the
// directories docker, podman and containerd use; see [DefaultCertDirs].
package httpclient
