// Package tomldoc reads TOML and says on which line of the text each key
// stands, which the parser it uses doesn't. Configuration can so be shown, and
// found fault with, by file and line.
//
// The text may come from anywhere: its size is the caller's to bound, nesting
// and the number of keys are bounded here.
package tomldoc
