package credentials_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-project/waybill/credentials"
)

// write writes a file into a directory of its own and returns its path.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func auth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func password(user, pw string) credentials.Credential {
	return credentials.Credential{Username: user, Password: pw}
}

// same compares credentials without showing them.
func same(t *testing.T, got, want credentials.Credential) {
	t.Helper()
	if got != want {
		t.Errorf("got %q/%q/%q/%q, want %q/%q/%q/%q", got.Username, got.Password, got.IdentityToken, got.RegistryToken,
			want.Username, want.Password, want.IdentityToken, want.RegistryToken)
	}
}

func TestAuths(t *testing.T) {
	config := fmt.Sprintf(`{"auths": {
		"registry.example":           {"auth": %q},
		"registry.example/team":      {"auth": %q},
		"registry.example/team/app":  {"auth": %q},
		"port.example:5000":          {"username": "bob", "password": "pw"},
		"https://old.example/v1/":    {"auth": %q},
		"http://plain.example":       {"auth": %q},
		"both.example":               {"auth": %q},
		"https://both.example/v2/":   {"auth": %q},
		"https://index.docker.io/v1/":{"auth": %q},
		"identity.example":           {"auth": %q, "identitytoken": "it"},
		"token.example":              {"registrytoken": "rt"},
		"empty.example":              {},
		"nul.example":                {"auth": %q}
	}, "HttpHeaders": {"User-Agent": "x"}}`,
		auth("host", "1"), auth("team", "2"), auth("app", "3"), auth("old", "a:b"), auth("plain", "5"), auth("new", "6"), auth("url", "7"),
		auth("hub", "8"), auth("<token>", ""), auth("nul", "9\x00\x00"))
	tests := []struct {
		host, repository string
		want             credentials.Credential
	}{
		{"registry.example", "", password("host", "1")},
		{"Registry.Example", "other/app", password("host", "1")},
		{"registry.example", "team", password("team", "2")},
		{"registry.example", "team/web", password("team", "2")},
		{"registry.example", "teams", password("host", "1")},
		{"registry.example", "team/app", password("app", "3")},
		{"registry.example", "team/app/sub", password("app", "3")},
		{"registry.example:5000", "team/app", credentials.Credential{}},
		{"port.example:5000", "x", password("bob", "pw")},
		{"port.example", "x", credentials.Credential{}},
		{"old.example", "x", password("old", "a:b")},
		{"plain.example", "x", password("plain", "5")},
		{"both.example", "x", password("new", "6")},
		{"docker.io", "library/alpine", password("hub", "8")},
		{"index.docker.io", "library/alpine", password("hub", "8")},
		{"registry-1.docker.io", "library/alpine", password("hub", "8")},
		{"identity.example", "x", credentials.Credential{IdentityToken: "it"}},
		{"token.example", "x", credentials.Credential{RegistryToken: "rt"}},
		{"empty.example", "x", credentials.Credential{}},
		{"nul.example", "x", password("nul", "9")},
		{"unknown.example", "x", credentials.Credential{}},
	}
	s := credentials.New(credentials.Options{Files: []string{write(t, config)}})
	for _, tt := range tests {
		t.Run(tt.host+"/"+tt.repository, func(t *testing.T) {
			got, err := s.Get(context.Background(), tt.host, tt.repository)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, tt.want)
		})
	}
}

func TestFilesInOrder(t *testing.T) {
	a := write(t, fmt.Sprintf(`{"auths":{"x.example":{"auth":%q}}}`, auth("a", "1")))
	b := write(t, fmt.Sprintf(`{"auths":{"x.example":{"auth":%q},"y.example":{"auth":%q}}}`, auth("b", "2"), auth("b", "2")))
	missing := filepath.Join(t.TempDir(), "missing.json")
	s := credentials.New(credentials.Options{Files: []string{missing, a, b}})
	for host, want := range map[string]credentials.Credential{
		"x.example": password("a", "1"), "y.example": password("b", "2"), "z.example": {},
	} {
		got, err := s.Get(context.Background(), host, "app")
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	}
	// A login after the store was made is noticed.
	if err := os.WriteFile(missing, fmt.Appendf(nil, `{"auths":{"z.example":{"auth":%q}}}`, auth("c", "3")), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(context.Background(), "z.example", "app")
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, password("c", "3"))
}

func TestDefaultFiles(t *testing.T) {
	t.Setenv("REGISTRY_AUTH_FILE", "/r/auth.json")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	t.Setenv("XDG_CONFIG_HOME", "/c")
	t.Setenv("DOCKER_CONFIG", "/d")
	want := []string{"/r/auth.json", "/run/user/7/containers/auth.json", "/c/containers/auth.json", "/d/config.json"}
	if got := credentials.DefaultFiles(); !slices.Equal(got, want) {
		t.Errorf("DefaultFiles = %v, want %v", got, want)
	}
	for _, v := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", "/h")
	want = []string{fmt.Sprintf("/run/containers/%d/auth.json", os.Getuid()), "/h/.config/containers/auth.json", "/h/.docker/config.json"}
	if got := credentials.DefaultFiles(); !slices.Equal(got, want) {
		t.Errorf("DefaultFiles = %v, want %v", got, want)
	}
}

func TestMalformedFiles(t *testing.T) {
	tests := []struct{ name, content, text string }{
		{"cut off", `{"auths":{"x.example":{"auth":"hunter2`, "is not valid JSON at byte 38"},
		{"not JSON", `hunter2`, "is not valid JSON at byte 1"},
		{"after the end", `{} hunter2`, "is not valid JSON at byte 4"},
		{"empty", ``, "is not valid JSON at byte 0"},
		{"another type", `{"auths":{"x.example":{"auth":12345}}}`, "holds another type than a credentials file at byte"},
		{"not base64", `{"auths":{"x.example":{"auth":"hunter2!"}}}`, `auth of "x.example" is not base64`},
		{"no colon", `{"auths":{"x.example":{"auth":"aHVudGVyMg=="}}}`, `auth of "x.example" is not base64 of USER:PASSWORD`},
		{"no user", `{"auths":{"x.example":{"auth":"Omh1bnRlcjI="}}}`, `auth of "x.example"`},
		{"too large", `{"x":"` + strings.Repeat("x", 4<<20) + `"}`, "larger than 4194304 bytes"},
		{"helper with a path", `{"credsStore":"../../bin/sh"}`, "no plain program name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.content)
			_, err := credentials.New(credentials.Options{Files: []string{path}}).Get(context.Background(), "x.example", "app")
			wantError(t, err, path, tt.text)
		})
	}
}

// wantError fails unless err says all of texts in one line, and no secret.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	for _, secret := range []string{"\n", "hunter2", "12345"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error %q shows %q", err, secret)
		}
	}
}

// helper installs a real docker-credential-NAME, a shell script, and returns
// the directory it runs in.
func helper(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "docker-credential-"+name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncd "+dir+"\necho \"$@\" >>calls\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return dir
}

func TestHelpers(t *testing.T) {
	dir := helper(t, "test", `read -r server
echo "$server" >>servers
case $server in
known.example) echo '{"ServerURL":"known.example","Username":"ann","Secret":"s3cret"}' ;;
token.example) echo '{"Username":"<token>","Secret":"id"}' ;;
https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"h"}' ;;
ns.example/team) echo '{"Username":"team","Secret":"t"}' ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac`)
	stored := write(t, fmt.Sprintf(`{"credsStore":"test","auths":{"filed.example":{"auth":%q},"known.example":{}}}`, auth("filed", "f")))
	byHost := write(t, `{"credsStore":"absent","credHelpers":{"known.example":"test","ns.example/team":"test","https://token.example":"test"}}`)
	tests := []struct {
		name, file, host, repository string
		want                         credentials.Credential
	}{
		{"store", stored, "known.example", "app", password("ann", "s3cret")},
		{"store, identity token", stored, "token.example", "app", credentials.Credential{IdentityToken: "id"}},
		{"store, Docker Hub", stored, "docker.io", "library/alpine", password("hub", "h")},
		{"store knows nothing", stored, "unknown.example", "app", credentials.Credential{}},
		{"store knows nothing, the file does", stored, "filed.example", "app", password("filed", "f")},
		{"helper of the host before the store", byHost, "known.example", "app", password("ann", "s3cret")},
		{"helper of a namespace", byHost, "ns.example", "team/app", password("team", "t")},
		{"helper by URL", byHost, "token.example", "app", credentials.Credential{IdentityToken: "id"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := credentials.New(credentials.Options{Files: []string{tt.file}}).Get(context.Background(), tt.host, tt.repository)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, tt.want)
		})
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("get\n", len(tests)); string(calls) != want {
		t.Errorf("the helper was called with %q, want %q", calls, want)
	}
}

func TestHelpersRunOnlyWhenNeeded(t *testing.T) {
	dir := helper(t, "lazy", "exit 1")
	file := write(t, `{"credHelpers":{"other.example":"lazy"}}`)
	if _, err := credentials.New(credentials.Options{Files: []string{file}}).Get(context.Background(), "x.example", "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "calls")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the helper of another registry was run (%v)", err)
	}
}

func TestHelperFailures(t *testing.T) {
	tests := []struct{ name, script, text string }{
		{"fails", `echo "keychain is
 locked"; exit 3`, "failed with status 3: keychain is locked"},
		{"says nothing", `exit 0`, "did not answer with a JSON object"},
		{"not JSON", `echo hunter2`, "did not answer with a JSON object"},
		{"too much", `head -c 2000000 /dev/zero`, "wrote more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			helper(t, "bad", tt.script)
			file := write(t, `{"credsStore":"bad"}`)
			_, err := credentials.New(credentials.Options{Files: []string{file}}).Get(context.Background(), "x.example", "app")
			wantError(t, err, "docker-credential-bad", file, tt.text)
		})
	}
	t.Run("not installed", func(t *testing.T) {
		file := write(t, `{"credsStore":"absent"}`)
		_, err := credentials.New(credentials.Options{Files: []string{file}}).Get(context.Background(), "x.example", "app")
		wantError(t, err, "docker-credential-absent", file, "is not installed")
	})
}

// TestHelperThatHangs has a helper whose child hangs with it, and sees both
// gone.
func TestHelperThatHangs(t *testing.T) {
	hang := func(t *testing.T, ctx context.Context, timeout time.Duration) error {
		dir := helper(t, "hang", "sleep 1000 &\necho $! >child.tmp; mv child.tmp child\nwait")
		file := write(t, `{"credsStore":"hang"}`)
		_, err := credentials.New(credentials.Options{Files: []string{file}, HelperTimeout: timeout}).Get(ctx, "x.example", "app")
		b, rerr := os.ReadFile(filepath.Join(dir, "child"))
		if rerr != nil {
			t.Fatal(rerr)
		}
		pid, perr := strconv.Atoi(strings.TrimSpace(string(b)))
		if perr != nil {
			t.Fatal(perr)
		}
		waitGone(t, pid)
		return err
	}
	t.Run("timeout", func(t *testing.T) {
		wantError(t, hang(t, context.Background(), 300*time.Millisecond), "docker-credential-hang", "did not answer within 300ms")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if err := hang(t, ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}

// waitGone waits until there is no process pid, or only its zombie.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 500 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Errorf("process %d outlived its helper", pid)
}

func TestCredentialsAreNeverShown(t *testing.T) {
	var logged strings.Builder
	for _, handler := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(handler).Info("x", "credential", password("ann", "hunter2"))
	}
	for _, c := range []credentials.Credential{password("ann", "hunter2"), {IdentityToken: "hunter2"}, {RegistryToken: "hunter2"}} {
		logged.WriteString(fmt.Sprintf("%v %+v %#v %s %x %d\n", c, c, c, c, c, &c))
	}
	if s := logged.String(); strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("shown:\n%s", s)
	}
}

func ExampleStore_Get() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "auth.json")
	if err := os.WriteFile(file, []byte(`{"auths":{"registry.example":{"auth":"YW5uOnBhc3M="}}}`), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	store := credentials.New(credentials.Options{Files: []string{file}})
	c, err := store.Get(context.Background(), "registry.example", "team/app")
	fmt.Println(c.Username, c, err)
	// Output: ann credential(user name and password) <nil>
}
