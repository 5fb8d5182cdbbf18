package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/archive"
	"github.com/waybill-project/waybill/transport/data"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/registry"
	"github.com/waybill-project/waybill/transport/tree"
)

// openStore opens the store the user chose.
func (a *app) openStore() (*store.Store, error) {
	return store.Open(a.config.Store, store.Options{IngestQuota: a.config.Ingest.Quota, IngestMaxAge: a.config.Ingest.MaxAge})
}

// puller wires everything up: the one place where schemes meet transports and
// kinds of names meet resolvers.
func (a *app) puller(st *store.Store, warn func(source, text string)) *pull.Puller {
	c := a.config
	client := httpclient.New(httpclient.Options{
		CertDirs:  c.Registry.Certs,
		Insecure:  func(host string) bool { return named(a.flags.insecure, host) || c.HostInsecure(host) },
		Trusted:   c.HostTrusted,
		UserAgent: "waybill/" + programVersion(),
	})
	reg := registry.New(registry.Options{
		HTTP:        client,
		Credentials: credentials.New(credentials.Options{Files: c.Registry.CredentialFiles, HelperTimeout: c.Registry.CredentialTimeout}),
		PlainHTTP: func(host string) bool {
			return named(a.flags.plainHTTP, host) || c.HostPlainHTTP(host)
		},
		Warn: func(host, text string) { warn("docker://"+host, text) },
	})
	web := https.New(client)
	archives := &archive.Transport{TempDir: st.Dir()}
	return &pull.Puller{
		Store: st,
		Fetch: fetch.Options{
			Transport: transport.Schemes{
				"docker": reg, "http": web, "https": web, "oci": layout.Transport{},
				"oci-archive": archives, "docker-archive": archives, "file": tree.Transport{}, "data": data.Transport{},
			},
			MaxConnections: c.Fetch.MaxConnections,
			FirstByte:      c.Fetch.FirstByte,
			Stall:          c.Fetch.Stall,
			MinRate:        c.Fetch.MinRate,
		},
		Names: resolve.Names{
			name.Registry: resolve.Registry{Client: reg}, name.Digest: resolve.Digests{},
			name.Layout: resolve.Local{Finder: layout.Transport{}}, name.OCIArchive: resolve.Local{Finder: archives},
			name.DockerArchive: resolve.Local{Finder: archives},
		},
		Parallel: c.Fetch.Parallel,
	}
}

// named reports whether a flag's hosts have this one.
func named(hosts []string, host string) bool {
	return slices.Contains(hosts, anyHost) || slices.Contains(hosts, host)
}

// imageFlags are the flags of commands that take an image in.
type imageFlags struct {
	from     []string
	platform string
}

func (f *imageFlags) add(cmd *cobra.Command) {
	fromFlag(cmd, &f.from, "ask the source `URI` too, for every blob")
	cmd.Flags().StringVar(&f.platform, "platform", "", "take `OS/ARCH[/VARIANT]` of an image for several, or all (default this machine's)")
}

// request makes a pull's request of the flags.
func (a *app) request(cmd *cobra.Command, f *imageFlags) (pull.Request, error) {
	req := pull.Request{Offline: a.flags.offline}
	if p := a.config.Platform; p != "" { // --platform is laid over it
		filter, err := image.ParsePlatform(p)
		if err != nil {
			return req, usageError{cmd, fmt.Errorf("%s: %w", a.config.From("platform"), err)}
		}
		req.Platform = filter
	}
	for _, uri := range f.from {
		l, err := locate.From(uri, "--from")
		if err != nil {
			return req, usageError{cmd, fmt.Errorf("--from: %w", err)}
		}
		req.From = append(req.From, l)
	}
	return req, nil
}

// parseName reads an image's name from the command line.
func parseName(cmd *cobra.Command, s string) (name.Name, error) {
	n, err := name.Parse(s)
	if err != nil {
		return n, usageError{cmd, err}
	}
	if n.Kind == name.Registry && strings.HasPrefix(s, "-") {
		return n, usageError{cmd, fmt.Errorf("name %q begins with a dash", s)}
	}
	return n, nil
}
