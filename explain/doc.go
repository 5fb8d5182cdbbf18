// Package explain tells the story of a pull to people: who was asked, who
// served what, who was dropped and why, and a picture of the stripes.
package explain
