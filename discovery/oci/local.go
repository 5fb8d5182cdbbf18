package oci

import (
	"cmp"
	"fmt"
	"slices"
)

// LocalEngines is what the local discovery documents (XDG) say of the names that
// match an expression.
type LocalEngines struct {
	// Expression is the regular expression, File the document it stands in.
	Expression, File string
	// Ref and CAS are the templates of the engines, as they were written.
	Ref, CAS []string
}

// Local returns what the local discovery documents say, in the order in which it
// is preferred: longest expression first. Nobody is asked. What can't be used is
// told to Options.Note.
func (r *Resolver) Local() []LocalEngines {
	var all []LocalEngines
	for expression, v := range r.local(r.options.Note) {
		n := notes{where: v.file, note: r.options.Note}
		doc, err := parseRefEngines(v.content, n.add)
		if err != nil {
			n.add(fmt.Sprintf("%q: %v; ignored", clip(expression), err))
			continue
		}
		n.end()
		all = append(all, LocalEngines{expression, v.file, templatesOf(doc.refs), templatesOf(doc.cas)})
	}
	slices.SortFunc(all, func(a, b LocalEngines) int {
		return cmp.Or(len(b.Expression)-len(a.Expression), cmp.Compare(a.Expression, b.Expression))
	})
	return all
}

func templatesOf(entries []entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.template)
	}
	return all
}
