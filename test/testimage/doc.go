// Package testimage makes container images for the tests and the benchmarks:
// layers of chosen size and content, images and indexes of them, written as OCI
// layouts that every tool reads, and one real root file system, Debian's.
//
//	layout, err := testimage.NewLayout(dir)
//	layer, err := layout.AddLayer(testimage.Random(1, 10<<20), testimage.Gzip)
//	image, err := layout.AddImage(testimage.Config(), layer)
//	err = layout.Tag(image, "app")
//
// The same calls make the same bytes, so digests repeat from run to run.
package testimage
