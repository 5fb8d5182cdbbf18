package oci

import (
	"fmt"
	"net/url"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport/netclass"
)

// Within is the extension of indexes that CAS engines are, for those that no
// discovery document leads to: from a registry, from a layout, within another. What
// it reads is a [locate.Locator] of what is below; nil where no engine can be used.
//
// Whoever made the index wrote them, so that they lead to public networks only, by
// https, and come after the places that the user knows. Where the index was had
// changes nothing, so that a template can't be relative. n, which may be zero, is
// the image's name. note, which may be nil, is told of entries that can't be used,
// by one goroutine at a time.
func Within(n Name, note func(discovery.Note)) *image.Extension {
	w := &within{name: n, note: note, engines: engineSet{}, noted: map[place]bool{}}
	return &image.Extension{Member: "casEngines", Max: MaxDocument, Read: w.read}
}

type within struct {
	name Name
	note func(discovery.Note)

	mu      sync.Mutex
	engines engineSet      // all that there are in the image, a bounded number
	noted   map[place]bool // those that notes were made about
	notes   int            // made so far, of the image
}

// place is where engines stand.
type place struct {
	index digest.Digest
	path  string
}

// read makes a locator of the engines in one place.
func (w *within) read(v image.Value) any {
	where := "index.json"
	if v.Index != "" {
		where = "index " + string(v.Index)
	}
	var found []locate.Locator
	w.noting(place{v.Index, v.Path}, where, func(note func(string)) {
		list, err := readValue(v, note)
		if err != nil {
			note(fmt.Sprintf("%s: %v; ignored", v.Path, err))
			return
		}
		like := Engine{Name: w.name, From: where, Remote: true, Priority: locate.RemotePriority}
		public := func(*url.URL) netclass.Class { return netclass.Public }
		for _, e := range w.engines.add(nil, list, like, public, note) {
			l, err := e.Locator("casEngines of " + where)
			if err != nil {
				note(err.Error())
				continue
			}
			found = append(found, l)
		}
	})
	if found == nil {
		return nil
	}
	return locate.InOrder(MaxEntries, found...)
}

// noting has do make notes about a place, where it is the first time, as a walk may
// read one twice, and while there are not too many.
func (w *within) noting(at place, where string, do func(note func(string))) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noted[at] || w.notes > MaxNotes {
		do(func(string) {})
		return
	}
	n := notes{where: where, note: w.note, n: w.notes}
	do(n.add)
	n.end()
	if n.n > w.notes {
		w.notes, w.noted[at] = n.n, true
	}
}

// readValue reads the engines of one place.
func readValue(v image.Value, note func(string)) (list []entry, err error) {
	if v.JSON == nil {
		return nil, fmt.Errorf("%d bytes; the limit is %d", v.Size, MaxDocument)
	}
	r, err := newReader(v.JSON)
	if err != nil {
		return nil, err
	}
	return list, readEngines(r, &list, v.Path, ProtocolCASTemplate, note)
}
