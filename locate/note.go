package locate

import "strings"

// Note says in one line what was refused or passed over, and where it stood.
type Note struct {
	Where string
	Text  string
}

// clip keeps short what notes and errors repeat.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
