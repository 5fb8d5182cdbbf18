// Package layout is the transport of scheme "oci": an OCI image layout in a
// directory (image-spec image-layout.md). Its routes are written oci:DIR, in
// the grammar of package name; a ref behind DIR has no meaning for blobs.
//
// It also reads the index.json of a layout: which images there are
// ([Transport.Entries]) and which one a name means ([Transport.Resolve]).
//
// Symbolic links that lead out of DIR are refused; see package
// transport/local.
package layout
