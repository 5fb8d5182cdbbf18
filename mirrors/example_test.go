package mirrors_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/waybill-project/waybill/mirrors"
)

func ExampleConfig_For() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	hosts := filepath.Join(dir, "docker.io", "hosts.toml")
	if err := os.Mkdir(filepath.Dir(hosts), 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(hosts, []byte("[host.\"https://mirror.internal\"]\n  capabilities = [\"pull\"]\n"), 0o644); err != nil {
		log.Fatal(err)
	}

	config, err := mirrors.Load(mirrors.Options{ContainerdDirs: []string{dir}, Etc: dir, Home: dir, Env: func(string) string { return "" }})
	if err != nil {
		log.Fatal(err)
	}
	plan, err := config.For("docker.io", "library/alpine")
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range plan.Endpoints {
		fmt.Println(e.URI(), e.AnswersTags())
	}
	// Output:
	// docker://mirror.internal/library/alpine?ns=docker.io false
	// docker://docker.io/library/alpine true
}
