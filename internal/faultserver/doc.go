// Package faultserver is an HTTP server for blobs that misbehaves on request:
// it lies, stalls, resets, redirects, throttles and shapes its rate exactly as
// told, and accounts for every request. Use it where a real server can't be
// made to show the fault; where one can, use the real one.
//
// A [Server] holds a set of [Blob]s and answers at any path whose last element
// is a digest or its encoded part (/sha256/HEX, /blobs/sha256:HEX,
// /sha256/ab/HEX), at the registry paths /v2/, /v2/NAME/blobs/DIGEST and
// /v2/NAME/manifests/DIGEST-or-TAG, and at [StatsPath]. Without a [Fault] it is
// an honest server: GET and HEAD, entity tags, and single byte ranges as RFC
// 9110 §14 wants them.
//
// Content is read through io.ReaderAt as it is sent, so a blob of any size
// costs no memory: [Random] generates as many bytes as are wanted from a seed,
// [File] is sent by the kernel where nothing has to look at the bytes.
//
// The package doesn't import testing; programs may link it.
package faultserver
