// Package transport defines what it means to read a range of a blob at a
// place, and the errors that doing so may end in. The packages below it
// (transport/https, transport/registry, transport/layout, …) each do it for one
// kind of place.
//
// A transport knows nothing of digests, policy or retries. It asks once, says
// exactly what came of it, and hands over the bytes as they arrive. It need not
// check them: package fetch verifies every byte once, at the sink, and decides
// what an error means for the source.
package transport
