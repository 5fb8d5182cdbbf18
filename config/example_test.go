package config_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-project/waybill/config"
)

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "config.toml")
	text := "# nodes of the second rack\n[fetch]\nparallel = 8\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		fmt.Println(err)
		return
	}

	c, err := config.Load(config.LoadOptions{File: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Override("progress", "plain", "--progress"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Fetch.Parallel, "from", filepath.Base(c.From("fetch.parallel")))
	fmt.Println(c.Progress, "from", c.From("progress"))
	fmt.Println(c.Fetch.Stall, "from", c.From("fetch.stall"))
	// Output:
	// 8 from config.toml:3
	// plain from --progress
	// 20s from default
}
