// Package locate answers where a blob's bytes may be had: a [Locator] turns a
// descriptor into routes, as it learns of them. It reads no blob and decides
// nothing about what an image is.
//
//	from, err := locate.From("https://mirror.example/{algorithm}/{encoded}")
//	for route, err := range from.Locate(ctx, desc) { … }
//
// The locators here ask nobody: what a source's URI means ([From], [FromName]), what
// the descriptor itself says ([URLs]), and where a digest leads by itself
// ([NamedInformation], [IPFS]). Those that read documents are below discovery/.
// [All] asks several at once.
package locate
