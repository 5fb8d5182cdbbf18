// Package realserver starts the servers that the tests and the benchmarks pull
// from: docker-registry, nginx and containerd, as child processes of their own
// on free loopback ports, ready when the function that starts them returns and
// gone after Stop (or with the program, should that be killed).
//
//	registry, err := realserver.StartRegistry(ctx, dir, realserver.RegistryOptions{})
//	if err != nil { … }
//	defer registry.Stop()
//	exec.Command("crane", "push", layout, registry.Host+"/app:1")
//
// Two servers are our own. [StartProxy] stands before another one and counts:
// requests and bytes, as the tests' witness of what was asked of whom.
// [StartTokenServer] issues the bearer tokens that a docker-registry with
// [RegistryOptions.Token] believes.
package realserver
