// Package store keeps content by its digest in a local directory, with the
// names that refer to it, the parts of blobs that are still being fetched, and
// records of past pulls. It knows nothing of the network.
//
// There is no database and no daemon: one file per fact, written atomically, so
// that any number of processes may work on one store at once, and each may be
// killed at any instant.
//
// # Layout
//
//	waybill-store                  says that this is a store, and of which layout
//	blobs/<algorithm>/<hex>        committed blobs
//	refs/<repository>/<tag>.json   one Ref each; see refname.go for the encoding
//	ingest/<algorithm>/<hex>/      a partial: lock, data, journal
//	pulls/<id>.json                records of the newest pulls
//	leases/<id>                    what a running process needs
//	marks/<sha256>.json            the number of the waybill last used of a signer about an image
//	tmp/                           files not yet complete
//	gate, lock                     the store-wide lock
//
// A directory that has anything in it but no mark is refused: gc would take what
// is there for garbage. Every path made from a digest or a name goes through
// checkDigest, checkRefName or checkID first.
//
// # Durability
//
// A blob is written elsewhere, synced, and then renamed to its name, whose
// directory is synced: it is there entirely or not at all. The same holds for
// refs and records. A name is put after what it refers to. Blobs are verified
// before they are committed, by [Store.Put] itself and by the caller of
// [Ingest.Commit]; reading checks small ones again ([Store.ReadBlob]), and
// [Store.Verify] all.
//
// # Partials
//
// An [Ingest] writes a blob in any order. Beside its data is a journal, to which
// every range that was written is appended, with the source it came from. What
// counts when it is opened again depends on what happened in between:
//
//   - The process died. What it wrote is in the page cache, and so is the
//     journal: every record counts, and none needed an fsync. Record costs one
//     small write(2).
//   - The machine lost power. The disk has any part of what was written since
//     the last fdatasync. The journal names the boot of the machine it was
//     written in; in another one, only what was recorded before the last
//     completed [Ingest.Checkpoint] counts, and of that only what was not
//     recorded again or forgotten since. (On two machines that share a
//     filesystem, every change of machine looks like this, which errs on the
//     safe side.)
//
// A bitmap, the usual way, can tell neither who sent what, which the search for
// a liar needs, nor which of its bits the disk has.
//
// Each record has a checksum. What follows the last intact one is cut off; a
// journal without an intact header, or about another size, means that nothing is
// held. When the file reaches 384 KiB it is rewritten, keeping apart what is
// durable and what isn't. At most 4096 ranges and 256 sources survive that: of
// more, those that touch are joined, losing their sources, and then the smallest
// are forgotten. So neither the file nor the memory for it grows with the blob.
//
// The journal's format is in journal_format.go.
//
// # Leases and garbage collection
//
// [Store.GC] removes each blob B that no ref and no live lease leads to. That
// it never removes one that somebody relies on rests on three rules:
//
//  1. Who relies on B has called [Lease.Hold] for B before, and has not yet
//     released the lease. Relying includes seeing that B is there.
//  2. Hold and [Store.PutRef] share the store-wide lock while they write. GC has
//     it alone from before it reads the first lease until after it removes the
//     last blob.
//  3. A ref is put, by who holds all it leads to, before that lease is released.
//
// Consider one GC and one B that is relied on at a moment when GC removes it, or
// later, on the strength of having seen it earlier. By rule 2, Hold(B) was over
// before that GC began or began after it ended. If after: by rule 1 its caller
// looked for B only then, and knows that B is gone. If before: B is in the file
// of the lease when GC begins. If GC finds the lease's file locked, it keeps B.
// If not, the lease has ended: its process died, and relies on nothing; or it
// was released, by rule 3 after the PutRef, if there was one, had returned, so
// (rule 2) before GC began, and since GC reads leases before refs in any case, it
// finds that ref, and keeps B. There is no fourth possibility.
//
// Leases are files locked with flock(2), so the kernel ends them with their
// process. GC removes nothing at all when it can't tell what a ref leads to.
//
// Temporary files need no leases: they exist only while who writes them shares
// the store-wide lock, so those that GC sees are dead processes'. Partials have
// locks of their own, and the quota and age of [Options].
package store
