package main

import (
	"strings"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/metalink"
	ocidiscovery "github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
)

// located returns the locator of the places a name itself speaks of, and of the
// host it is published at where that may have blobs by their hashes; nil where
// it says nothing of places.
func (a *app) located(t *transports, n name.Name) (locate.Locator, error) {
	switch n.Kind {
	case name.Registry:
		return t.mirrors.Locator(n)
	case name.Host, name.Parcel:
		if !a.config.Locate.NamedInformation {
			return nil, nil
		}
		host, _, _ := strings.Cut(n.Path, "/")
		return locate.NamedInformation("https://" + host)
	case name.ABD, name.AppC, name.Digest:
		return nil, nil
	}
	return locate.FromName(n, "name")
}

// locators are asked about every blob of every image.
func (a *app) locators(t *transports) ([]locate.Locator, error) {
	c := a.config.Locate
	all := []locate.Locator{locate.URLs(func(n locate.Note) { t.about(discovery.Note{Where: n.Where, Text: n.Text, Ignored: true}) })}
	if len(c.NamedInformationHosts) > 0 {
		l, err := locate.NamedInformation(c.NamedInformationHosts...)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	if c.IPFS {
		all = append(all, locate.IPFS())
	}
	return all, nil
}

// within returns what reads the places that indexes name of what is in them.
func (a *app) within(t *transports, n name.Name) *image.Extension {
	var hostBased ocidiscovery.Name
	if n.Kind == name.Host {
		hostBased, _ = ocidiscovery.Parse(n.Path + "#" + n.Ref) // which parseName has checked
	}
	return ocidiscovery.Within(hostBased, t.about)
}

// further returns what makes more places of those that all locators yield; nil
// where nothing does.
func (a *app) further(t *transports) func(locate.Locator) locate.Locator {
	if !a.config.Locate.Metalink {
		return nil
	}
	return metalink.New(metalink.Options{
		Docs: t.docs, Torrents: true, Note: t.about,
	}).Locator
}
