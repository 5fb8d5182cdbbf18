// Package abd finds images by appc Binary Discovery (github.com/appc/abd,
// 2016): an identifier and labels lead, by strategies that configuration files
// choose, to metadata, and that to mirrors of one artefact.
//
//	configs, err := abd.ReadConfigs("/etc/abd/sources.list.d")
//	c := abd.New(abd.Options{Docs: docs, Configs: configs})
//	n, err := abd.Parse("com.coreos.etcd,version=1.0.0,content-type=docker")
//	for candidate, err := range c.Discover(ctx, n) { … }
//
// Each strategy that matches is to be tried, metadata and artefact, before the
// next is asked, so candidates come one by one: whoever got the image stops
// listening, and the strategies after that are never asked.
//
// # Strategies
//
//   - io.abd.https-dns asks the host that the identifier is when read backwards,
//     then its parents: https://etcd.coreos.com/.well-known/abd-index/com.coreos.etcd,
//     then at coreos.com. A public suffix (com, co.uk) is nobody's to answer
//     for and isn't asked. The first host that answers with metadata ends the
//     walk.
//   - io.abd.local takes {storage-path}/IDENTIFIER: an OCI layout or a tar of
//     one. It has no metadata, so labels don't matter.
//   - io.abd.nfs reads {fetch-uri}/abd-index/IDENTIFIER from a share that is
//     mounted on this machine: fetch-uri is nfs:///DIR, or just /DIR, DIR being
//     the mount point or below it. Nothing here speaks NFS, so nfs://HOST/ is
//     refused. Mirrors may be files and directories of DIR; links that leave it
//     are refused.
//   - io.abd.noop ends the search with [ErrBlocked], so that files in order can
//     keep identifiers from ever being asked for elsewhere.
//
// The publication has every other strategy be a program that is run. None is
// run here; such a configuration is an error in its place of the search.
//
// Mirrors out of metadata are remote-supplied (spec/security.md §2). What they
// name isn't compared with any digest, so they have to be https or a registry;
// see package target.
package abd
