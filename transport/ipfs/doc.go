// Package ipfs reads blobs from IPFS, through gateways that need no trust: the
// schemes
//
//	ipfs://CID[/PATH]             a directory that holds an OCI layout or a
//	                              bare tree, or one file that is one blob
//	ipns://NAME[/PATH]            the same, by an IPNS key or a DNSLink name
//	ipfs+https://GATEWAY[/BASE]   any blob of one block, by its digest, at
//	ipfs+http://GATEWAY[/BASE]    that gateway
//	ipfs+https://GATEWAY[/BASE]/ipfs/CID[/PATH]
//	                              as ipfs://CID[/PATH], of that gateway only
//
// # Blocks
//
// A CID names a block by its hash, a directory or file is a Merkle DAG of
// blocks (dag-pb and UnixFS), and a block is at most [MaxBlock] bytes. So every
// block is verified as it arrives, before anything in it is followed or passed
// on, and a gateway that lies is caught at the block: [transport.ErrPermanent]
// naming the gateway and the CID, and no other gateway suffers. This is the
// protocol's own checking, not the blob's; that a file is the blob that was
// wanted is for package fetch to find out, as with any source.
//
// Of a file only the blocks of the wanted range are fetched, and the nodes above
// them; those, and directories, are kept in a cache of some megabytes.
//
// # How gateways are asked
//
// Two of the answers of the Trustless Gateway specification are used:
// "?format=raw", one block for each request, several ahead; and "?format=car"
// with dag-scope=entity and entity-bytes (IPIP-402), a whole range in one
// stream. A gateway never gets to choose what bytes are: its plain, deserialized
// answers are not used.
//
// Of a file of 1 GB in blocks of 1 MiB, kubo 0.42 gives to curl on the same
// machine, two cores, nothing else running,
//
//	a CAR                  590 MB/s
//	blocks, one at a time  930 MB/s
//	blocks, eight ahead   1750 MB/s
//
// and "ipfs cat" 400 MB/s, "ipfs get" 320 MB/s. From afar a CAR saves a round
// trip and a request for each block. So a gateway on this machine is asked for
// blocks, any other for CARs, and for blocks where it can't make them;
// [Options.Reading] says otherwise. BenchmarkRead measures the whole.
//
// # Several gateways
//
// What is asked of ipfs: and ipns: is asked of the gateways in [Options], a
// kubo on this machine, and providers that routers name (IPIP-337), in order of
// health, and one that fails is replaced in the middle of a range. An error
// names every gateway that was asked for the block that could not be had.
//
// # Digests and CIDs
//
// The CIDv1 of a block of codec raw holds the same hash as an OCI digest, so
// for a blob of up to [MaxBlock] bytes the CID is known, if it was put into
// IPFS as one raw block. Larger ones are cut up, and their CIDs can't be
// computed from their digest: ipfs+https: is [transport.ErrNotFound] for them
// unless [Options.Hints] knows better.
package ipfs
