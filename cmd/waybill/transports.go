package main

import (
	"context"
	"errors"
	"fmt"
	osexec "os/exec"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/discovery/follow"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/archive"
	"github.com/waybill-project/waybill/transport/azblob"
	"github.com/waybill-project/waybill/transport/bittorrent"
	"github.com/waybill-project/waybill/transport/data"
	"github.com/waybill-project/waybill/transport/exec"
	"github.com/waybill-project/waybill/transport/ftp"
	"github.com/waybill-project/waybill/transport/gcs"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
	"github.com/waybill-project/waybill/transport/ipfs"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/registry"
	"github.com/waybill-project/waybill/transport/s3"
	"github.com/waybill-project/waybill/transport/sftp"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
	"github.com/waybill-project/waybill/transport/tree"
	"github.com/waybill-project/waybill/transport/webarchive"
	"github.com/waybill-project/waybill/webdoc"
)

// transports are the places this program reads from, made once for a run: the
// one place where schemes meet transports.
type transports struct {
	transport.Schemes
	http     *httpclient.Client
	registry *registry.Client
	archives *archive.Transport
	torrents *bittorrent.Transport
	gateways *ipfs.Transport
	// webArchives are archives on web servers.
	webArchives *webarchive.Transport
	mirrors     *mirrors.Config
	docs        *webdoc.Client
	// others are the transports for places that other people's documents name:
	// they keep out of private networks and have no credentials to send. What
	// isn't among them is nobody else's to name.
	others transport.Schemes
	// note tells of what came of asking about names and places: an event of a
	// pull, with who or which document it is about.
	note func(what fetch.EventType, source, text string)
}

// newTransports makes them. Nothing is asked of anyone.
func (a *app) newTransports() (*transports, error) {
	c := a.config
	t := &transports{archives: &archive.Transport{TempDir: c.Store}}
	t.note = func(what fetch.EventType, source, text string) {
		say := a.warn
		if what == pull.EventDocument || what == pull.EventAbsent {
			say = a.detail
		}
		say("%s: %s", transport.Redact(source), oneLine(text))
	}
	var err error
	note := func(n mirrors.Note) { a.detail("%s: %s", n.Where, n.Text) }
	broken := func(e *mirrors.Error) { a.warn("%s", e) }
	if t.mirrors, err = mirrors.Load(mirrors.Options{Note: note, Broken: broken}); err != nil {
		return nil, err
	}
	base := httpclient.Options{
		CertDirs:        c.Registry.Certs,
		Insecure:        func(host string) bool { return named(a.flags.insecure, host) || c.HostInsecure(host) },
		Trusted:         c.HostTrusted,
		TrustedNetworks: c.Network.Trusted,
		UserAgent:       "waybill/" + programVersion(),
	}
	t.http = httpclient.New(base)
	t.docs = webdoc.New(t.http, 0)
	t.torrents = bittorrent.New(a.torrentOptions(t.http))
	t.registry = registry.New(registry.Options{
		HTTP:        t.http,
		HTTPFor:     t.mirrors.HTTPFor(base),
		Credentials: credentials.New(credentials.Options{Files: c.Registry.CredentialFiles, HelperTimeout: c.Registry.CredentialTimeout}),
		PlainHTTP: func(host string) bool {
			return named(a.flags.plainHTTP, host) || c.HostPlainHTTP(host)
		},
		Warn: func(host, text string) { t.note(pull.EventWarning, "docker://"+host, text) },
	})
	t.gateways, err = ipfs.New(t.http, ipfs.Options{
		Gateways: c.IPFS.Gateways, Routers: c.IPFS.Routers,
		Warn: func(base, text string) { t.note(pull.EventWarning, base, text) },
	})
	if err != nil {
		return nil, err
	}
	web, ssh, files := https.New(t.http), sftp.New(openssh.Options{}), ftp.New(ftp.Options{})
	t.Schemes = transport.Schemes{
		"docker": t.registry, "http": web, "https": web,
		"oci": layout.Transport{}, "oci-archive": t.archives, "docker-archive": t.archives,
		"file": tree.Transport{}, "data": data.Transport{},
		"sftp": ssh, "ssh": ssh,
		"ftp": files, "ftps": files, "ftpes": files,
		"s3":     s3.New(t.http),
		"gs":     gcs.New(gcs.Options{HTTP: t.http}),
		"azblob": azblob.New(azblob.Options{HTTP: t.http}),
		"ipfs":   t.gateways, "ipns": t.gateways, "ipfs+https": t.gateways, "ipfs+http": t.gateways,
		"magnet": t.torrents, "torrent": t.torrents,
	}
	t.webArchives = webarchive.New(web)
	strangers := a.torrentOptions(t.http)
	strangers.Public, strangers.ListenPort, strangers.Seed, strangers.Content = true, 0, false, nil
	t.others = transport.Schemes{
		"http": web, "https": web, "docker": t.registry,
		"ipfs": t.gateways, "ipfs+https": t.gateways, "ipfs+http": t.gateways,
		"ftp":                ftp.New(ftp.Options{Public: true, Trusted: c.HostTrusted, TrustedNetworks: c.Network.Trusted}),
		"magnet":             bittorrent.New(strangers),
		follow.ArchiveScheme: t.webArchives,
	}
	return t, nil
}

// Close closes every connection.
func (t *transports) Close() error { return errors.Join(t.Schemes.Close(), t.others.Close()) }

func (a *app) torrentOptions(client *httpclient.Client) bittorrent.Options {
	c := a.config.BitTorrent
	return bittorrent.Options{
		Trusted:      a.config.Network.Trusted,
		HTTP:         client,
		Memory:       c.Memory,
		MaxDownload:  c.MaxDownload,
		MaxUpload:    c.MaxUpload,
		Listen:       c.Listen,
		ListenPort:   c.Port,
		NoDHT:        !c.DHT,
		NoPEX:        !c.PeerExchange,
		NoLSD:        !c.LocalDiscovery,
		DHTBootstrap: c.DHTNodes,
		Seed:         a.flags.seed,
		Content:      a.blobContent,
	}
}

// blobContent opens a blob of the store to seed it.
func (a *app) blobContent(d digest.Digest) (bittorrent.Content, int64, bool) {
	st, err := a.openStore()
	if err != nil {
		return nil, 0, false
	}
	b, err := st.OpenBlob(d)
	if err != nil {
		return nil, 0, false
	}
	return b, b.Size(), true
}

// finders finds images at places by the scheme of their URI.
type finders map[string]resolve.Finder

// Resolve implements [resolve.Finder].
func (f finders) Resolve(ctx context.Context, n name.Name) (layout.Found, error) {
	scheme, _, _ := strings.Cut(n.Path, ":")
	if finder := f[strings.ToLower(scheme)]; finder != nil {
		return finder.Resolve(ctx, n)
	}
	return layout.Found{}, transport.Errorf(transport.ErrPermanent, n.Path, "no names are kept at places of scheme %q", scheme)
}

// check says what is wrong with a URI the user gave as a source. One of a
// scheme that a program on the PATH serves gets that program's transport.
func (t *transports) check(uri string) error {
	scheme, rest, ok := strings.Cut(uri, ":")
	scheme = strings.ToLower(scheme)
	if ok && strings.HasPrefix(rest, "//") && t.Schemes[scheme] == nil {
		switch _, err := exec.Find(scheme); {
		case err == nil:
			t.Schemes[scheme] = exec.New(scheme, exec.Options{})
		case !errors.Is(err, osexec.ErrNotFound):
			return err
		default:
			return fmt.Errorf("%s: no transport for scheme %q: it is none of those built in (waybill help sources), and there is no program waybill-transport-%s on the PATH",
				transport.Redact(uri), scheme, scheme)
		}
	}
	return t.Schemes.Check(uri)
}

// prepare has the user asked what places want to know of them, before a bar is
// drawn or a deadline runs. What goes wrong Open says, and who is then left.
func (t *transports) prepare(ctx context.Context, uris []string) error {
	var all sync.WaitGroup
	for _, uri := range uris {
		all.Go(func() { _ = t.Prepare(ctx, uri) })
	}
	all.Wait()
	return ctx.Err()
}
