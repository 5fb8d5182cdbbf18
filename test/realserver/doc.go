// Package realserver starts the servers that the tests and the benchmarks pull
// from, as child processes of their own on free loopback ports, ready when the
// function that starts them returns and gone after Stop (or with the program,
// should that be killed): docker-registry, nginx, containerd, sshd, vsftpd,
// versitygw (S3), fake-gcs-server, Azurite, kubo, dnsmasq, and for BitTorrent
// transmission, aria2, libtorrent and opentracker.
//
//	registry, err := realserver.StartRegistry(ctx, dir, realserver.RegistryOptions{})
//	if err != nil { … }
//	defer registry.Stop()
//	exec.Command("crane", "push", layout, registry.Host+"/app:1")
//
// [StartOCIRegistry] runs in this process. Three servers are our own. [StartRelay]
// is a link of a known speed. [StartProxy] stands before another one and counts:
// requests and bytes, as the tests' witness of what was asked of whom.
// [StartTokenServer] issues the bearer tokens that a docker-registry with
// [RegistryOptions.Token] believes.
package realserver
