package mirrors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/waybill-project/waybill/internal/tomldoc"
)

const (
	// maxFile bounds each file, in bytes.
	maxFile = 1 << 20
	// maxEntries bounds how many entries of a directory are looked at.
	maxEntries = 4096
)

// Options says where files are. The zero value is where the tools have them.
type Options struct {
	// ContainerdDirs are directories with a directory for each registry, in
	// order: what containerd calls config_path. Nil means what
	// /etc/containerd/config.toml says, or else /etc/containerd/certs.d; empty
	// means none.
	ContainerdDirs []string
	// RegistriesConf is read instead of the usual registries.conf, and has to
	// exist. Empty means $CONTAINERS_REGISTRIES_CONF, which has to exist as
	// well, or ~/.config/containers/registries.conf, or
	// /etc/containers/registries.conf.
	RegistriesConf string
	// DockerDaemon is read instead of the usual daemon.json, and has to exist.
	// Empty means ~/.config/docker/daemon.json (rootless docker's, below
	// $XDG_CONFIG_HOME where that is set) or else /etc/docker/daemon.json.
	DockerDaemon string
	// Env looks up environment variables. Nil means os.Getenv.
	Env func(string) string
	// Home is the user's home directory. Empty means os.UserHomeDir.
	Home string
	// Etc stands for /etc in all of the above. Empty means /etc.
	Etc string
	// Note is told of what is passed over. Nil drops it.
	Note func(Note)
	// Broken is told of each file that is malformed, and the rest counts: what one
	// of containerd's or docker's says adds places and takes none away. Without a
	// registries.conf that is malformed nobody knows what is blocked, so that
	// [Config.For] is an error then. Nil has [Load] stop at the first one.
	Broken func(*Error)
}

// Note is something that is passed over, in one line.
type Note struct {
	// Where is FILE:LINE or FILE.
	Where string
	// Text says what and why.
	Text string
}

// Error says what is wrong with a file, on one line.
type Error struct {
	// From is FILE:LINE or FILE.
	From string
	// Problem says what is wrong, and what is accepted.
	Problem string
}

// Error returns the line: the place and the problem.
func (e *Error) Error() string { return oneLine(e.From + ": " + e.Problem) }

// Config is what all files say. It doesn't change after [Load], and is safe for
// concurrent use.
type Config struct {
	registries registriesConf
	containerd []hostRoot
	cri        containerdConfig
	docker     daemonConf
	// blind is what is wrong with registries.conf, if it is to be lived with.
	blind *Error
}

// Load reads the files there are. One that doesn't exist says nothing, unless
// it was named; one that is malformed is an [*Error], but for [Options].Broken. A file of containerd's or
// docker's that may not be read says nothing either, since those run as root,
// and is noted.
func Load(opts Options) (*Config, error) {
	if opts.Env == nil {
		opts.Env = os.Getenv
	}
	if opts.Etc == "" {
		opts.Etc = "/etc"
	}
	if opts.Note == nil {
		opts.Note = func(Note) {}
	}
	if opts.Home == "" {
		// Without one there are no files of the user's.
		opts.Home, _ = os.UserHomeDir()
	}
	c := &Config{}
	var err error
	if c.registries, err = loadRegistries(opts); err != nil {
		if opts.Broken == nil || !errors.As(err, &c.blind) {
			return nil, err
		}
		opts.Broken(c.blind)
	}
	if c.cri, c.containerd, err = loadContainerd(opts); err != nil {
		return nil, err
	}
	if c.docker, err = loadDocker(opts); err != nil {
		return nil, err
	}
	return c, nil
}

// readFile returns the text of a file; ok is false where there is none.
func readFile(path string) (text string, ok bool, err error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", false, nil
	case err != nil:
		return "", false, unreadable(path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", false, unreadable(path, err)
	}
	if len(b) > maxFile {
		return "", false, &Error{path, fmt.Sprintf("larger than %d bytes, the most that is read", maxFile)}
	}
	return string(b), true, nil
}

// deniedError says that something may not be read.
type deniedError struct{ problem *Error }

func (e deniedError) Error() string { return e.problem.Error() }
func (e deniedError) Unwrap() error { return e.problem }

// unreadable returns the error for a path that can't be read because of err.
func unreadable(path string, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	problem := &Error{path, err.Error()}
	if errors.Is(err, fs.ErrPermission) {
		return deniedError{problem}
	}
	return problem
}

// passOver tells of an error about a file that can be done without: one that may
// not be read, or if opts say so, that is malformed. It returns any other.
func passOver(opts Options, err error) error {
	var denied deniedError
	if errors.As(err, &denied) {
		opts.Note(Note{denied.problem.From, "passed over: " + denied.problem.Problem})
		return nil
	}
	if broken := (*Error)(nil); opts.Broken != nil && errors.As(err, &broken) {
		opts.Broken(broken)
		return nil
	}
	return err
}

// readDir returns the names in a directory, sorted; none where there is no such
// directory.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, unreadable(dir, err)
	case len(entries) > maxEntries:
		return nil, &Error{dir, fmt.Sprintf("more than %d entries, the most that are read", maxEntries)}
	}
	return entries, nil
}

// tomlFile is a TOML file that was read.
type tomlFile struct {
	path string
	doc  *tomldoc.Document
	note func(Note)
}

// parseTOML parses the text of a file.
func parseTOML(path, text string, note func(Note)) (tomlFile, error) {
	doc, err := tomldoc.Parse(text)
	if e := (*tomldoc.Error)(nil); errors.As(err, &e) {
		return tomlFile{}, &Error{fmt.Sprintf("%s:%d", path, e.Line), e.Problem}
	}
	return tomlFile{path, doc, note}, err
}

// from returns FILE:LINE of a path within the document.
func (f tomlFile) from(path ...any) string {
	return fmt.Sprintf("%s:%d", f.path, f.doc.Line(path...))
}

// fail returns an error about a path.
func (f tomlFile) fail(path []any, format string, args ...any) error {
	return &Error{f.from(path...), fmt.Sprintf(format, args...)}
}

// within returns path and one more step, in memory of its own.
func within(path []any, step ...any) []any {
	return append(path[:len(path):len(path)], step...)
}

// userConfig returns a path below the user's configuration directory, or "".
func userConfig(opts Options, path ...string) string {
	dir := opts.Env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // counts as unset (XDG base directory specification)
		if opts.Home == "" {
			return ""
		}
		dir = filepath.Join(opts.Home, ".config")
	}
	return filepath.Join(append([]string{dir}, path...)...)
}

// oneLine replaces what is not printable: keys and paths may hold anything.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// clip shortens what an error repeats.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
