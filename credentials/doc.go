// Package credentials finds what to log in to a registry with, in the places
// docker and podman keep it.
//
// A [Store] looks a registry up in these files, the first that knows it wins
// (the order is podman's, containers-auth.json(5)):
//
//	$REGISTRY_AUTH_FILE
//	${XDG_RUNTIME_DIR}/containers/auth.json, or /run/containers/UID/auth.json
//	${XDG_CONFIG_HOME}/containers/auth.json, or ~/.config/…
//	$DOCKER_CONFIG/config.json, or ~/.docker/config.json
//
// Within a file, the helper credHelpers names for the registry is asked, else
// the one credsStore names, and then auths is read. A key of auths or
// credHelpers is a registry, or a registry and the start of a repository; the
// most specific key wins. Keys written as URLs, as docker's older versions do,
// mean the host in them, and the names of Docker Hub mean each other.
//
// Nothing is read or run before a credential is needed, and then every time
// anew: a login is noticed by programs that already run, and no secret is kept
// in memory. A file that is missing or may not be read holds nothing; one that
// is malformed is an error, which never shows what is in it.
//
// The libraries that do this (oras-go's credentials, docker's cli) either know
// docker's file only, or run helpers without a deadline, an output cap or a way
// to end their children, or pull in a program's worth of dependencies; so this
// is our own.
package credentials
