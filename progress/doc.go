// Package progress shows how a pull is getting on: as bars on a terminal, as
// plain lines in a log, or as a stream of JSON for another program.
//
// Its input is a small model of its own, [Snapshot] and [Event], so that it
// knows nothing of the engine. Everything in the model may come from a remote
// place: control characters are shown escaped and passwords in URIs are not
// shown, whatever the mode. Sizes are in decimal units (1 MB is 1000000
// bytes), as in docker and containerd.
//
// In [JSON] mode each line is one object. Its "type" is "progress" (a
// [Snapshot] while the pull runs), "event" (an [Event]) or "done" (the final
// Snapshot, once, at the end); the other members are the JSON names of the
// fields of Snapshot and Event, and for snapshots "bytesPerSecond" (what came
// over the network: of late, or in "done" over the whole pull) and, where it can
// be told, "etaSeconds". Members may be added, never renamed or dropped.
package progress
