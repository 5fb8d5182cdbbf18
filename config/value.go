package config

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// value is where the value of a key is kept. What is not accepted changes
// nothing.
type value interface {
	// set takes a value as TOML has it, and reports whether it is accepted.
	set(raw any) bool
	// parse takes the text of a flag or of the environment.
	parse(text string) bool
	// String returns the value as parse takes it.
	String() string
	// accepts says, after "is not", what is accepted.
	accepts() string
}

// count is a whole number from 1 to most.
type count struct {
	p    *int
	most int64
}

func (v count) set(raw any) bool {
	n, ok := raw.(int64)
	if !ok || n < 1 || n > v.most {
		return false
	}
	*v.p = int(n)
	return true
}

func (v count) parse(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && v.set(n)
}

func (v count) String() string { return strconv.Itoa(*v.p) }

func (v count) accepts() string {
	return "a whole number from 1 to " + strconv.FormatInt(v.most, 10)
}

// size is a number of bytes, at least one.
type size struct{ p *int64 }

func (v size) set(raw any) bool {
	switch raw := raw.(type) {
	case int64:
		if raw < 1 {
			return false
		}
		*v.p = raw
		return true
	case string:
		return v.parse(raw)
	}
	return false
}

func (v size) parse(text string) bool {
	n, ok := parseBytes(text)
	return ok && v.set(n)
}

func (v size) String() string { return formatBytes(*v.p) }

func (v size) accepts() string {
	return `a number of bytes above zero, such as 4096, "10kB", "1.5GB" or "32GiB"`
}

// duration is at least a millisecond: a shorter one is a slip.
type duration struct{ p *time.Duration }

func (v duration) set(raw any) bool {
	text, ok := raw.(string)
	return ok && v.parse(text)
}

func (v duration) parse(text string) bool {
	d, ok := parseDuration(text)
	if !ok || d < time.Millisecond {
		return false
	}
	*v.p = d
	return true
}

func (v duration) String() string { return formatDuration(*v.p) }

func (v duration) accepts() string {
	return `a duration above zero, such as "500ms", "20s", "1h30m" or "7d"`
}

// word is one of a few.
type word struct {
	p     *string
	words []string
}

func (v word) set(raw any) bool {
	text, ok := raw.(string)
	return ok && v.parse(text)
}

func (v word) parse(text string) bool {
	if !slices.Contains(v.words, text) {
		return false
	}
	*v.p = text
	return true
}

func (v word) String() string { return *v.p }

func (v word) accepts() string { return "one of " + strings.Join(v.words, ", ") }

// platform has the form of a platform. Which there are, package image knows.
type platform struct{ p *string }

func (v platform) set(raw any) bool {
	text, ok := raw.(string)
	return ok && v.parse(text)
}

func (v platform) parse(text string) bool {
	if text == "" { // undoes what an earlier file says
		*v.p = ""
		return true
	}
	parts := strings.Split(text, "/")
	if len(text) > 255 || len(parts) > 3 {
		return false
	}
	for _, p := range parts {
		if p == "" || strings.ContainsFunc(p, notPlatform) {
			return false
		}
	}
	*v.p = text
	return true
}

func (v platform) String() string { return *v.p }

func (v platform) accepts() string {
	return `all, OS/ARCH[/VARIANT] such as linux/arm64, or "" for this machine's`
}

// notPlatform reports whether r can't be in the name of a platform.
func notPlatform(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.()", r)
}

// dir is the path of a directory.
type dir struct {
	p    *string
	home string
}

func (v dir) set(raw any) bool {
	text, ok := raw.(string)
	return ok && setPath(v.p, text, v.home)
}

func (v dir) parse(text string) bool {
	return setTypedPath(v.p, text, v.home)
}

func (v dir) String() string { return *v.p }

func (v dir) accepts() string { return acceptsPath(v.home, "an absolute path") }

// paths is a list of paths; empty means none.
type paths struct {
	p    *[]string
	home string
}

func (v paths) set(raw any) bool {
	list, ok := raw.([]any)
	if !ok {
		return false
	}
	texts := make([]string, len(list))
	for i, e := range list {
		if texts[i], ok = e.(string); !ok {
			return false
		}
	}
	return v.setAll(texts, setPath)
}

func (v paths) parse(text string) bool {
	return v.setAll(filepath.SplitList(text), setTypedPath)
}

func (v paths) setAll(texts []string, set func(p *string, text, home string) bool) bool {
	all := make([]string, len(texts))
	for i, text := range texts {
		// The separator could not be told apart in what String returns.
		if strings.ContainsRune(text, filepath.ListSeparator) || !set(&all[i], text, v.home) {
			return false
		}
	}
	*v.p = all
	return true
}

func (v paths) String() string { return strings.Join(*v.p, string(filepath.ListSeparator)) }

func (v paths) accepts() string { return acceptsPath(v.home, "a list of absolute paths") }

// setPath takes a path that must not depend on the working directory.
func setPath(p *string, text, home string) bool {
	if rest, ok := strings.CutPrefix(text, "~/"); ok && filepath.IsAbs(home) {
		text = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(text) || oneLine(text) != text {
		return false
	}
	*p = filepath.Clean(text)
	return true
}

// setTypedPath takes a path that may be relative to the working directory.
func setTypedPath(p *string, text, home string) bool {
	if text == "" {
		return false
	}
	if !strings.HasPrefix(text, "~/") {
		abs, err := filepath.Abs(text)
		if err != nil {
			return false
		}
		text = abs
	}
	return setPath(p, text, home)
}

// acceptsPath completes what is said of paths.
func acceptsPath(home, what string) string {
	if !filepath.IsAbs(home) {
		return what + " (there is no home directory for ~/)"
	}
	return what + ", which may begin with ~/"
}
