// Package discovery is what the packages below it share: those read documents in
// which others publish what names mean and where blobs are, and each tells what
// became of a document in the same words.
package discovery

// Note tells what became of a document, of one thing in it, or of looking for
// one, in one line.
type Note struct {
	// Where is the document, a URL or file, or what else was looked at.
	Where string
	// Text is what was read, or what was refused and why.
	Text string
	// Ignored says that something isn't used, or couldn't be had, which somebody
	// may want to do something about; Absent that nothing is there, as is usual.
	// Else it is what was read.
	Ignored, Absent bool
}
