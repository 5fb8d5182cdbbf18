// Package e2e holds the end-to-end tests: they run the built program as a user
// would, against real servers, and judge what it prints, what it stores and how
// it exits. They need root (for runtimes, devices and mounts) and the software
// that scripts/install-test-tools installs.
package e2e
