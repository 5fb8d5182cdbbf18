// Package docs tests the documentation: README.md, ARCHITECTURE.md and the
// pages in docs.
//
// Every block fenced as console is run, in order, in a home of its own for each
// page, by the program as it is built now, against real servers:
//
//	$ waybill pull registry.example/app:1
//	registry.example/app:1: 18.9 MB, fetched 18.9 MB in …
//	sha256:…
//
// A line that begins with "$ " is a command; it goes on as long as lines end
// with a backslash. What follows is what the terminal shows. Where it shows
// nothing, nothing is compared. "…" stands for anything within a line, and a line
// of nothing else for any number of lines. A command that fails has to be
// followed by "$ echo $?" and its code. What can't be run anywhere, such as a
// line with sudo, is fenced as text.
//
// The servers are at the names of the world in world_test.go, which a proxy on
// a loopback address leads to.
package docs
