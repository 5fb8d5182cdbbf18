// Package fetch reads one blob from many unlike sources at once, believes none
// of them, and puts it into a store once every byte was verified.
//
// An [Engine] is given a transport (how to read a range at a place) and a
// store; [Engine.Fetch] is given a descriptor and the places it may be had.
//
//	e := fetch.New(fetch.Options{Transport: schemes, Store: st})
//	result, err := e.Fetch(ctx, desc, routes)
//
// How it works:
//
//   - A blob is a preallocated file and a journal of who wrote which range.
//     Sources claim ranges ("chunks", about a second's worth at the source's
//     rate) and write them by offset as bytes arrive. Memory is a buffer for
//     each connection. Kill the process at any instant and the next fetch goes
//     on from the journal, from any other source.
//   - When nothing is left to claim, an idle source splits what the slowest
//     still owes so that both finish together, or takes it over.
//   - The digest follows the contiguous prefix while the rest still arrives.
//   - A source that fails is backed off and forgiven when it works again; one
//     that stalls or crawls loses its claim to the others after two seconds;
//     one that breaks the protocol is dropped for the blob.
//   - On a wrong digest the liar is looked for (see repair.go) and only ranges
//     in doubt are read again.
//   - A small blob is asked of the best source, and of the next one too when
//     that takes longer than it usually does.
//   - One blob is fetched once, however many ask: callers of one engine share
//     a [Task], processes on one store wait for one another's ingest.
//
// The engine knows nothing of schemes, names or policy.
package fetch
