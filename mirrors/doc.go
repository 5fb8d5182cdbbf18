// Package mirrors reads the mirrors that people have configured for the tools
// they use already, and says in which order to ask for an image because of
// them:
//
//   - containers (podman, skopeo, buildah, CRI-O): registries.conf and its
//     drop-ins, containers-registries.conf(5), version 2;
//   - containerd: certs.d/HOST/hosts.toml, containerd's docs/hosts.md, where the
//     config_path of config.toml says;
//   - docker: registry-mirrors and insecure-registries of daemon.json.
//
// [Load] reads all there is, [Config.For] answers for one repository with a
// [Plan]: mirrors first, then the registry. Nobody is asked here; [Endpoint.URI]
// is what package transport/registry reads from.
//
// # Several tools about one registry
//
// Mirrors are asked in the order containers, containerd, docker, and within
// each as its files say; a place that two name is asked once, as the first says.
// The registry comes last. Where a tool puts another in its place (location of
// registries.conf, server of hosts.toml) it isn't asked at all, and what
// replaces it comes last instead. What registries.conf blocks is blocked.
//
// What a name without a registry stands for registries.conf may say too:
// [Config.ShortName].
//
// # What is not read
//
// Version 1 of registries.conf ([registries.search] and so on) is refused with
// an error, and so is every value that its own tool would refuse. Keys that
// aren't known are passed over and told to [Options].Note: newer versions of
// the tools may have them. Of containerd's config.toml nothing else is read (mirrors
// and configs, which containerd 2 no longer has, are noted), nor the aliases podman
// records by itself (short-name-aliases.conf).
//
// # Where we differ
//
//   - hosts.toml: containerd drops tables that are written inline
//     (host = {…}) or as dotted keys; here they count, in the order of the text.
//     A header stays with its host, and doesn't go along with redirects.
//   - daemon.json: a network in insecure-registries is held against hosts that
//     are addresses; names aren't looked up for it. Loopback is not exempt from
//     the verification of certificates unless a file says so.
//   - https://docker.io and https://index.docker.io, which the documentation of
//     containerd has as servers, don't serve images; registry-1.docker.io is meant.
package mirrors
