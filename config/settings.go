package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/waybill-project/waybill/internal/tomldoc"
)

// setting is a key with one place in [Config].
type setting struct {
	key  string
	bind func(*Config) value
}

// settings are all keys but those of hosts and names, in the order they are shown. A new
// key is a new line here.
var settings = []setting{
	{"store", func(c *Config) value { return dir{&c.Store, c.home} }},
	{"platform", func(c *Config) value { return platform{&c.Platform} }},
	{"progress", func(c *Config) value { return word{&c.Progress, progressModes} }},

	{"fetch.parallel", func(c *Config) value { return count{&c.Fetch.Parallel, 64} }},
	{"fetch.max-connections", func(c *Config) value { return count{&c.Fetch.MaxConnections, 64} }},
	{"fetch.first-byte", func(c *Config) value { return duration{&c.Fetch.FirstByte} }},
	{"fetch.stall", func(c *Config) value { return duration{&c.Fetch.Stall} }},
	{"fetch.min-rate", func(c *Config) value { return size{&c.Fetch.MinRate} }},

	{"ingest.quota", func(c *Config) value { return size{&c.Ingest.Quota} }},
	{"ingest.max-age", func(c *Config) value { return duration{&c.Ingest.MaxAge} }},

	{"bundle.max-size", func(c *Config) value { return size{&c.Bundle.MaxSize} }},

	{"resolve.freshness", func(c *Config) value { return word{&c.Resolve.Freshness, freshnesses} }},
	{"resolve.stale-after", func(c *Config) value { return duration{&c.Resolve.StaleAfter} }},
	{"resolve.abd", func(c *Config) value { return paths{&c.Resolve.ABD, c.home} }},

	{"locate.waybills", func(c *Config) value { return boolean{&c.Locate.Waybills} }},
	{"locate.metalink", func(c *Config) value { return boolean{&c.Locate.Metalink} }},
	{"locate.named-information", func(c *Config) value { return boolean{&c.Locate.NamedInformation} }},
	{"locate.named-information-hosts", func(c *Config) value { return webOrigins(&c.Locate.NamedInformationHosts) }},
	{"locate.ipfs", func(c *Config) value { return boolean{&c.Locate.IPFS} }},

	{"network.trusted", func(c *Config) value { return networks{&c.Network.Trusted} }},

	{"registry.credential-files", func(c *Config) value { return paths{&c.Registry.CredentialFiles, c.home} }},
	{"registry.credential-timeout", func(c *Config) value { return duration{&c.Registry.CredentialTimeout} }},
	{"registry.certs", func(c *Config) value { return paths{&c.Registry.Certs, c.home} }},

	{"ipfs.gateways", func(c *Config) value { return webURLs(&c.IPFS.Gateways) }},
	{"ipfs.routers", func(c *Config) value { return webURLs(&c.IPFS.Routers) }},

	{"bittorrent.listen", func(c *Config) value { return address{&c.BitTorrent.Listen} }},
	{"bittorrent.port", func(c *Config) value { return port{&c.BitTorrent.Port} }},
	{"bittorrent.dht", func(c *Config) value { return boolean{&c.BitTorrent.DHT} }},
	{"bittorrent.dht-nodes", func(c *Config) value { return hostPorts(&c.BitTorrent.DHTNodes) }},
	{"bittorrent.peer-exchange", func(c *Config) value { return boolean{&c.BitTorrent.PeerExchange} }},
	{"bittorrent.local-discovery", func(c *Config) value { return boolean{&c.BitTorrent.LocalDiscovery} }},
	{"bittorrent.max-download", func(c *Config) value { return rate{&c.BitTorrent.MaxDownload} }},
	{"bittorrent.max-upload", func(c *Config) value { return rate{&c.BitTorrent.MaxUpload} }},
	{"bittorrent.memory", func(c *Config) value { return size{&c.BitTorrent.Memory} }},
}

// progressModes are the values of progress.
var progressModes = []string{"auto", "bar", "plain", "json", "none"}

// bound is the value of one key of one configuration.
type bound struct {
	key string // as it is shown
	value
}

// lookup finds the value of a key. Its error tells what keys there are.
func (c *Config) lookup(key toml.Key) (bound, error) {
	if key[0] == hostSection {
		return c.lookupHost(key)
	}
	if key[0] == nameSection {
		return c.lookupName(key)
	}
	name := key.String() // with quotes: "fetch.parallel" in one part is another key
	for _, s := range settings {
		if s.key == name {
			return bound{name, s.bind(c)}, nil
		}
	}
	return bound{}, unknownKey(key)
}

// asSection reports whether a key of a file is a section's header; an error
// says that it has to be and isn't.
func asSection(key toml.Key, raw any) (bool, error) {
	_, table := raw.(map[string]any)
	switch {
	case key[0] == hostSection && len(key) > 2 && table:
		name := clip(strings.Join(key[1:], "."))
		return false, fmt.Errorf("a host's name is one part of a key; if %s is meant, write [%s]", name, toml.Key{hostSection, name})
	case key[0] == hostSection && len(key) == 2:
		if _, err := canonicalHost(key[1]); err != nil {
			return false, err
		}
	case key[0] == nameSection && len(key) > 2 && table:
		name := clip(strings.Join(key[1:], "."))
		return false, fmt.Errorf("a pattern of names is one part of a key; if %s is meant, write [%s]", name, toml.Key{nameSection, name})
	case key[0] == nameSection && len(key) == 2:
		if err := checkPattern(key[1]); err != nil {
			return false, err
		}
	case len(key) > 1 || !isSection(key[0]):
		return false, nil
	}
	if !table {
		return false, fmt.Errorf("%s is not a table; write [%s] on a line of its own, and its keys below", show(raw), key)
	}
	return true, nil
}

// isSection reports whether there are keys below name.
func isSection(name string) bool {
	for _, s := range settings {
		if strings.HasPrefix(s.key, name+".") {
			return true
		}
	}
	return name == hostSection || name == nameSection
}

// splitKey returns the parts of a key as Values writes it.
func splitKey(key string) (toml.Key, error) {
	var names []toml.Key
	if doc, err := tomldoc.Parse(key + " = 0"); err == nil && !strings.ContainsAny(key, "\n=#") {
		for name := range doc.Keys() {
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return nil, errors.New("not a key; write it as in fetch.parallel or host.\"localhost:5000\".insecure")
	}
	return names[0], nil
}
