package exec

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

// seeds adds what the programs of the vectors write.
func seeds(f *testing.F, add func(greeting, answer string)) {
	data, err := os.ReadFile("../../spec/vectors/transport-exec/client.json")
	if err != nil {
		f.Fatal(err)
	}
	var vectors []struct {
		Writes struct{ Greeting, Answer string }
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		f.Fatal(err)
	}
	for _, v := range vectors {
		add(v.Writes.Greeting, v.Writes.Answer)
	}
}

func FuzzGreeting(f *testing.F) {
	seeds(f, func(greeting, _ string) { f.Add([]byte(greeting)) })
	f.Fuzz(func(t *testing.T, line []byte) {
		if parseGreeting(line) == nil && !json.Valid(line) {
			t.Errorf("accepted %q", line)
		}
	})
}

func FuzzHeader(f *testing.F) {
	seeds(f, func(_, answer string) { f.Add([]byte(answer), int64(5), int64(1), int64(3)) })
	f.Fuzz(func(t *testing.T, line []byte, size, offset, length int64) {
		if size < -1 || offset < 0 || length < -1 {
			return
		}
		open := &request{Op: opOpen, Size: size, Offset: &offset, Length: &length}
		h, err := parseHeader(line, open)
		switch {
		case err != nil:
		case h.Error != nil:
			te := h.Error.failure("x:y").(*transport.Error)
			if te.Kind == nil || te.RetryAfter < 0 || te.RetryAfter > maxRetryAfter {
				t.Errorf("%q is the error %+v", line, te)
			}
		case *h.Length < 0 || length >= 0 && *h.Length != length:
			t.Errorf("%q announces %d bytes of %d", line, *h.Length, length)
		}
		h, err = parseHeader(line, &request{Op: opSize, Size: size})
		if err == nil && h.Error == nil && *h.Size < -1 {
			t.Errorf("%q is the size %d", line, *h.Size)
		}
	})
}
