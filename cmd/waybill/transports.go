package main

import (
	"context"
	"errors"
	"fmt"
	osexec "os/exec"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/credentials"
	ocidiscovery "github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/discovery/parcel"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/name"
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
	mirrors  *mirrors.Config
	docs     *webdoc.Client
	// warn tells of what a registry wants its users to know.
	warn func(source, text string)
}

// newTransports makes them. Nothing is asked of anyone.
func (a *app) newTransports() (*transports, error) {
	c := a.config
	t := &transports{archives: &archive.Transport{TempDir: c.Store}, torrents: bittorrent.New(a.torrentOptions())}
	t.warn = func(source, text string) { a.warn("%s: %s", transport.Redact(source), oneLine(text)) }
	var err error
	note := func(n mirrors.Note) { a.detail("%s: %s", n.Where, n.Text) }
	if t.mirrors, err = mirrors.Load(mirrors.Options{Note: note}); err != nil {
		return nil, err
	}
	base := httpclient.Options{
		CertDirs:  c.Registry.Certs,
		Insecure:  func(host string) bool { return named(a.flags.insecure, host) || c.HostInsecure(host) },
		Trusted:   c.HostTrusted,
		UserAgent: "waybill/" + programVersion(),
	}
	t.http = httpclient.New(base)
	t.docs = webdoc.New(t.http, 0)
	t.registry = registry.New(registry.Options{
		HTTP:        t.http,
		HTTPFor:     t.mirrors.HTTPFor(base),
		Credentials: credentials.New(credentials.Options{Files: c.Registry.CredentialFiles, HelperTimeout: c.Registry.CredentialTimeout}),
		PlainHTTP: func(host string) bool {
			return named(a.flags.plainHTTP, host) || c.HostPlainHTTP(host)
		},
		Warn: func(host, text string) { t.warn("docker://"+host, text) },
	})
	t.gateways, err = ipfs.New(t.http, ipfs.Options{Gateways: c.IPFS.Gateways, Routers: c.IPFS.Routers})
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
	return t, nil
}

func (a *app) torrentOptions() bittorrent.Options {
	c := a.config.BitTorrent
	return bittorrent.Options{
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

// names are the resolvers of names: the one place where kinds of names meet
// them.
func (t *transports) names() resolve.Names {
	places := finders{}
	for scheme, tr := range t.Schemes {
		if f, ok := tr.(resolve.Finder); ok {
			places[scheme] = f
		}
	}
	tell := func(where, text string) { t.warn(where, text) }
	return resolve.Names{
		name.Registry: mirrors.Names{Config: t.mirrors, Client: t.registry, Note: tell}, name.Digest: resolve.Digests{},
		name.Host: ocidiscovery.Names{Resolver: ocidiscovery.New(ocidiscovery.Options{
			Docs: t.docs, Note: func(n ocidiscovery.Note) { t.warn(n.Where, n.Text) },
		})},
		name.Parcel: parcel.Names{Client: parcel.New(parcel.Options{
			Docs: t.docs, Note: func(n parcel.Note) { t.warn(n.Where, n.Text) },
		})},
		name.Layout: resolve.Local{Finder: layout.Transport{}}, name.OCIArchive: resolve.Local{Finder: t.archives},
		name.DockerArchive: resolve.Local{Finder: t.archives}, name.Place: resolve.Local{Finder: places},
	}
}

// located returns the locator of the places a name itself speaks of.
func (t *transports) located(n name.Name) (locate.Locator, error) {
	if n.Kind == name.Registry {
		return t.mirrors.Locator(n)
	}
	return locate.FromName(n, "name")
}

// forOthers are the transports for places that other people's documents name:
// they keep out of private networks and have no credentials to send. What isn't
// among them is nobody else's to name.
func (t *transports) forOthers() transport.Schemes {
	web := https.New(t.http)
	return transport.Schemes{"http": web, "https": web, "ipfs": t.gateways}
}

// finders finds images at places by the scheme of their URI.
type finders map[string]resolve.Finder

// Resolve implements [resolve.Finder].
func (f finders) Resolve(ctx context.Context, n name.Name) (ocispec.Descriptor, error) {
	scheme, _, _ := strings.Cut(n.Path, ":")
	if finder := f[strings.ToLower(scheme)]; finder != nil {
		return finder.Resolve(ctx, n)
	}
	return ocispec.Descriptor{}, transport.Errorf(transport.ErrPermanent, n.Path, "no names are kept at places of scheme %q", scheme)
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
