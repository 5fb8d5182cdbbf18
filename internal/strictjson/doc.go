// Package strictjson reads JSON documents of strangers so that they can be
// understood in one way only, and without doing more than a caller's [Limits]
// allow.
//
// encoding/json matches keys without regard to case and lets the last of several
// duplicates win, where other readers don't. So a document is read token by
// token: a key that is there twice is refused, and what is too much is refused
// where it begins.
//
//	r, err := strictjson.New(content, strictjson.Limits{Depth: 16, Members: 1000})
//	err = r.Object(func(key string) error {
//		switch key {
//		case "uri":
//			return readURI(r)
//		}
//		return r.Skip()
//	})
//	err = r.End()
//
// Errors are [*Error], with the place in the document.
package strictjson
