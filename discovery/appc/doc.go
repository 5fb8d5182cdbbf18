// Package appc finds images by App Container Image Discovery (meta discovery;
// github.com/appc/spec v0.8, spec/discovery.md): the page at an image's name
// holds, in HTML meta tags, templates of where the image is.
//
//	c := appc.New(appc.Options{Docs: docs})
//	n, err := appc.Parse("example.com/reduce-worker:1.0.0,os=linux,arch=amd64")
//	candidates, err := c.Discover(ctx, n)
//
// It was made for ACIs, which nothing here reads. The same pages can as well
// lead to OCI images: templates that expand to a registry reference, to a tar of
// an OCI layout or to an OCI index are candidates, as package target tells them
// apart. A publisher writes beside the others
//
//	<meta name="ac-discovery" content="example.com docker://registry.example.com/{name}:{version}">
//
// # Templates
//
// {name} and {label} stand for the image's name and its labels, {ext} for
// [DefaultExt] unless there is a label of that name; {version} is "latest"
// where there is none, as in the publication's program. Values are put in as
// they are, as the publication has it; only what can't stand in a URI is
// percent-encoded, which is {+name} of RFC 6570.
//
// A template for which a label is missing isn't used. The best match is the one
// with the most labels; equals are in the order of the page.
//
// # Pages
//
// Tags count up to the end of the head: what stands in the body may be
// anybody's. Where a page is answered 4xx, or has no template that can be used,
// the one at the parent path is asked. Other failures end the search, since a
// parent may well lead to something else than the page that couldn't be had.
//
// The tag ac-discovery-pubkeys isn't read: keys named by the page that names the
// image vouch for nothing.
package appc
