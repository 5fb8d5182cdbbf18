// Package pull brings a whole image into a store: it resolves the name, walks
// from the index to the manifest to config and layers, has package fetch bring
// in each blob from every place that may have it, and keeps a record of who
// was asked, who answered what and who served which range.
//
//	p := &pull.Puller{Store: st, Transport: schemes, Names: names, …}
//	session, err := p.Start(ctx, name, pull.Request{})
//	record, err := session.Wait()
//
// While a [Session] runs its blobs can be read as they arrive, which is how a
// bundle is unpacked beside the download.
package pull
