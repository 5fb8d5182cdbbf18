// Package config is waybill's one typed configuration. Every value knows where
// it comes from: a file and line, an environment variable, a flag, or
// "default".
//
// # Files
//
// [Load] reads /etc/waybill/config.toml and then
// $XDG_CONFIG_HOME/waybill/config.toml (or ~/.config/waybill/config.toml);
// the later one overrides key by key. Where a file is named, by --config or
// WAYBILL_CONFIG, that one alone is read. WAYBILL_STORE overrides the files,
// and a flag ([Config.Override]) everything.
//
// They are TOML:
//
//	store = "/srv/waybill"           # absolute, or from ~/
//	platform = "linux/arm64"         # or "all"; without it, this machine's
//	progress = "plain"               # auto, bar, plain, json, none
//
//	[fetch]
//	parallel = 4                     # blobs at once
//	max-connections = 6              # to one source, for one blob
//	first-byte = "20s"               # the longest wait for an answer
//	stall = "20s"                    # the longest pause in one
//	min-rate = "512B"                # a second, the least to put up with
//
//	[ingest]                         # what interrupted fetches leave behind
//	quota = "32GiB"
//	max-age = "7d"
//
//	[bundle]
//	max-size = "64GiB"               # the most that an image may unpack to
//
//	[resolve]                        # what names mean
//	freshness = "fresh"              # or "stale-ok", "pinned"
//	stale-after = "400ms"            # silence after which stale-ok takes the last answer
//	abd = ["/etc/waybill/abd.d"]     # strategies of abd
//
//	[locate]                         # where blobs may be, besides
//	waybills = true                  # look for waybills where the name leads
//	metalink = true                  # ask web servers for the copies they know of
//	named-information = true         # /.well-known/ni/ of the hosts of published names
//	named-information-hosts = ["https://files.internal"]  # and of these
//	ipfs = true                      # small blobs in IPFS, by their digest
//
//	[network]
//	trusted = ["10.20.0.0/16"]       # may be reached whoever names an address in it
//
//	[registry]
//	credential-files = ["~/.docker/config.json"]  # instead of the usual ones
//	credential-timeout = "10s"       # for one credential helper
//	certs = ["/etc/docker/certs.d"]  # instead of the usual ones
//
//	[ipfs]
//	gateways = ["https://ipfs.internal"]
//	routers = []
//
//	[bittorrent]
//	listen = ""                      # an address, or every one
//	port = 0
//	dht = true
//	dht-nodes = ["dht.internal:6881"]
//	peer-exchange = true
//	local-discovery = true
//	max-download = "unlimited"
//	max-upload = "1MB"
//	memory = "64MiB"
//
//	[host."registry.internal:5000"]  # without a port: whatever the port
//	plain-http = true                # may be asked without TLS
//	insecure = true                  # its certificate isn't verified
//	trusted = true                   # may be reached whoever names it
//
//	[name."registry.internal/team"]  # and all below; or with "*" at the end
//	resolvers = ["mirrors", "registry"]  # who is asked, in order
//	policy = "agree"                 # or "first": whose answer counts
//	freshness = "stale-ok"
//
// Of the patterns of names that match, each key has its value from the longest
// that sets it.
//
// Sizes are whole numbers of bytes or strings with a unit, decimal (kB, MB, GB,
// TB, PB) or binary (KiB, MiB, GiB, TiB, PiB). Durations are as Go writes them,
// and may begin with days ("7d12h").
//
// A key that isn't known, a value of another type or out of range, a duplicate
// key: the configuration is refused as a whole, with an [*Error] of one line
// that names the place and says what is accepted.
//
// # Other people's files
//
// What else is in force on this machine is shown by [Config.Values] beside our
// own: the proxies of the environment, and which files and directories of
// docker, podman and containerd are there. They are read by the packages that
// use them; no secret is shown.
package config
