// Package resolve turns an image's name into a descriptor: what the image is.
// A [Resolver] speaks one protocol for that. Each answer carries who gave it
// and when. Where the image's blobs are is none of its business.
//
// Several resolvers are made one by [First], which takes the first answer, and
// by [Agree], which takes none that not all of them give. [Aged] lets the store's
// record of an earlier answer do, [Retry] asks again after temporary failures.
// They are put together as spec/names.md §4 has it:
//
//	Retry{Aged{First{…} or Agree{…}}}
package resolve
