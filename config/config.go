package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// SystemFile is the configuration of all users of a machine.
const SystemFile = "/etc/waybill/config.toml"

// systemABD is the directory with strategies of abd for all users of a machine.
const systemABD = "/etc/waybill/abd.d"

// Config is the configuration in force. [Load] makes one; it is changed only
// by [Config.Override], and safe for concurrent use when that is done.
type Config struct {
	// Store is the directory of the store, absolute. It is empty where nothing
	// names one and there is no home directory to put it in.
	Store string
	// Platform is what is pulled where the command line doesn't say: "all",
	// OS/ARCH[/VARIANT], or empty for this machine's. Only its form has been
	// checked.
	Platform string
	// Progress is how progress is shown: auto, bar, plain, json or none.
	Progress string

	Fetch      Fetch
	Ingest     Ingest
	Bundle     Bundle
	Resolve    Resolve
	Locate     Locate
	Network    Network
	Registry   Registry
	IPFS       IPFS
	BitTorrent BitTorrent

	hosts      map[hostKey]bool
	names      map[string]*nameTable // by pattern
	from       map[string]string     // key → where its value comes from
	overridden map[string]bool       // keys that Override set
	home       string
	files      []source // configuration files looked for

	proxies   []Value // of the environment
	plainHTTP func(host string) bool
}

// Fetch is the section on fetching blobs.
type Fetch struct {
	// Parallel is how many blobs are fetched at once.
	Parallel int
	// MaxConnections bounds the connections to one source for one blob.
	MaxConnections int
	// FirstByte is how long the only source of a blob may take to answer.
	FirstByte time.Duration
	// Stall is how long the only source of a blob may pause while it sends.
	Stall time.Duration
	// MinRate is the least bytes per second the only source of a blob must
	// keep up.
	MinRate int64
}

// Ingest is the section on what interrupted fetches leave in the store.
type Ingest struct {
	// Quota is how many bytes of it are kept.
	Quota int64
	// MaxAge is how long it is kept.
	MaxAge time.Duration
}

// Bundle is the section on unpacking images.
type Bundle struct {
	// MaxSize is the most bytes an image may unpack to.
	MaxSize int64
}

// Resolve is the section on what names mean. What goes for some names alone is
// in [Config.NamePolicy].
type Resolve struct {
	// Freshness says how old an answer may be: fresh, stale-ok or pinned.
	Freshness string
	// StaleAfter is how long those who are asked may be silent before the last
	// known answer stands in, with stale-ok.
	StaleAfter time.Duration
	// ABD are the directories with strategies of abd. By default they need not
	// exist.
	ABD []string
}

// Locate is the section on finding places of blobs besides those that a name, a
// flag or somebody's document speaks of.
type Locate struct {
	// Waybills has waybills about the image looked for at the registry, host or
	// layout of its name.
	Waybills bool
	// Metalink has web servers asked for the copies they know of.
	Metalink bool
	// NamedInformation has the host of a name that is published there asked for
	// blobs by their hashes (RFC 6920).
	NamedInformation bool
	// NamedInformationHosts are further web servers to ask likewise about every
	// blob, by their origin: https://HOST[:PORT].
	NamedInformationHosts []string
	// IPFS has small blobs looked up in IPFS by their digest.
	IPFS bool
}

// Network is the section on who may be reached.
type Network struct {
	// Trusted are networks in which any address may be reached whoever names it.
	// [Config.HostTrusted] is the same for one host.
	Trusted []netip.Prefix
}

// Registry is the section on asking registries.
type Registry struct {
	// CredentialFiles are searched in order for logins. They need not exist.
	CredentialFiles []string
	// CredentialTimeout is how long one credential helper may take.
	CredentialTimeout time.Duration
	// Certs are the directories searched, in order, for certificates of a
	// host. They need not exist.
	Certs []string
}

// IPFS is the section on reading from IPFS.
type IPFS struct {
	// Gateways are the base URLs of trustless gateways, asked in order, besides
	// a node on this machine.
	Gateways []string
	// Routers are the base URLs of delegated routers (IPIP-337).
	Routers []string
}

// BitTorrent is the section on reading from BitTorrent.
type BitTorrent struct {
	// Listen and Port are where peers may connect to. The zero Listen is every
	// address of this machine, Port 0 any port.
	Listen netip.Addr
	Port   int
	// DHT, PeerExchange and LocalDiscovery say which ways to find peers are
	// used besides trackers.
	DHT, PeerExchange, LocalDiscovery bool
	// DHTNodes are the nodes by which the DHT is entered, HOST:PORT, instead of
	// the usual ones.
	DHTNodes []string
	// MaxDownload and MaxUpload limit all of BitTorrent, in bytes per second; 0
	// is no limit.
	MaxDownload, MaxUpload int64
	// Memory bounds the pieces that are held until they are read, in bytes.
	Memory int64
}

// LoadOptions says where to look. The zero value is a program's usual one,
// without default files of other tools.
type LoadOptions struct {
	// File is the one file to read (--config); it must exist. Empty means what
	// WAYBILL_CONFIG names, else the files of the package comment.
	File string
	// Env looks a variable of the environment up; nil means os.Getenv.
	Env func(string) string
	// Home is the user's home directory; empty means $HOME.
	Home string
	// SystemFile replaces [SystemFile] where it isn't empty.
	SystemFile string

	// CredentialFiles and Certs are the defaults of registry.credential-files
	// and registry.certs.
	CredentialFiles, Certs []string
	// PlainHTTP is what [Config.HostPlainHTTP] answers for hosts the
	// configuration says nothing about; nil means false.
	PlainHTTP func(host string) bool
}

// Load returns the configuration in force. What is wrong with a file or a
// variable is an [*Error]; the first mistake is reported.
func Load(opts LoadOptions) (*Config, error) {
	env := opts.Env
	if env == nil {
		env = os.Getenv
	}
	c := defaults(opts, env)
	c.files = locate(opts, env, c.home)
	for _, f := range c.files {
		text, err := readFile(f.path)
		if errors.Is(err, fs.ErrNotExist) && !f.must {
			continue
		}
		if err != nil {
			return nil, f.unreadable(err)
		}
		if err := c.merge(f.path, text); err != nil {
			return nil, err
		}
	}
	if dir := env("WAYBILL_STORE"); dir != "" {
		if err := c.Override("store", dir, "WAYBILL_STORE"); err != nil {
			return nil, err
		}
	}
	c.proxies = proxies(env)
	return c, nil
}

// defaults returns the configuration of a machine without any files.
func defaults(opts LoadOptions, env func(string) string) *Config {
	c := &Config{
		Progress: "auto",
		Fetch: Fetch{
			Parallel:       4,
			MaxConnections: 6,
			FirstByte:      20 * time.Second,
			Stall:          20 * time.Second,
			MinRate:        512,
		},
		Ingest:  Ingest{Quota: 32 << 30, MaxAge: 7 * day},
		Bundle:  Bundle{MaxSize: 64 << 30},
		Resolve: Resolve{Freshness: "fresh", StaleAfter: 400 * time.Millisecond},
		Locate:  Locate{Waybills: true, NamedInformation: true},
		Registry: Registry{
			CredentialFiles:   opts.CredentialFiles,
			CredentialTimeout: 10 * time.Second,
			Certs:             opts.Certs,
		},
		BitTorrent: BitTorrent{DHT: true, PeerExchange: true, LocalDiscovery: true, Memory: 64 << 20},

		hosts:      make(map[hostKey]bool),
		names:      make(map[string]*nameTable),
		from:       make(map[string]string),
		overridden: make(map[string]bool),
		home:       opts.Home,
		plainHTTP:  opts.PlainHTTP,
	}
	if c.home == "" {
		c.home = env("HOME")
	}
	if dir := xdgDir(env("XDG_DATA_HOME"), c.home, ".local/share"); dir != "" {
		c.Store = filepath.Join(dir, "waybill")
	}
	if dir := xdgDir(env("XDG_CONFIG_HOME"), c.home, ".config"); dir != "" {
		c.Resolve.ABD = append(c.Resolve.ABD, filepath.Join(dir, "waybill", "abd.d"))
	}
	c.Resolve.ABD = append(c.Resolve.ABD, systemABD)
	return c
}

// From returns where the value of a key, as [Config.Values] writes it, comes
// from: FILE:LINE, the name of an environment variable, what
// [Config.Override] was told, or "default".
func (c *Config) From(key string) string {
	if from, ok := c.from[key]; ok {
		return from
	}
	return "default"
}

// Override sets a key, as [Config.Values] writes it, from text that stands
// outside of files; from says where, such as "--store". The text is what a file
// would hold, without quotes; elements of a list are separated as in $PATH.
// Paths may be relative to the working directory. Nothing changes where it
// returns an error, an [*Error].
func (c *Config) Override(key, text, from string) error {
	path, err := splitKey(key)
	if err != nil {
		return &Error{From: from, Key: key, Problem: err.Error()}
	}
	v, err := c.lookup(path)
	if err != nil {
		return &Error{From: from, Key: key, Problem: err.Error()}
	}
	if !v.parse(text) {
		return wrongValue(from, text, v)
	}
	c.from[v.key] = from
	c.overridden[v.key] = true
	return nil
}
