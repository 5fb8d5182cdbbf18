// Package resolve turns an image's name into a descriptor: what the image is.
// A [Resolver] speaks one protocol for that. Each answer carries who gave it
// and when. Where the image's blobs are is none of its business.
package resolve
