// Package transporttest is the conformance suite of package transport: it says
// whether an implementation of [transport.Transport] keeps the contract, by
// using it as the fetch engine does, against the server it is written for.
//
// The author of a transport writes a [Harness], which starts the real server,
// puts blobs there and brings about its failures, and calls [Run] from a test:
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, func(t *testing.T) transporttest.Harness {
//			server := start(t)
//			return transporttest.Harness{
//				Transport: mine.New(),
//				Put: func(t testing.TB, b transporttest.Blob) transport.Route { … },
//				Faults: …, Impossible: …,
//				Stop: server.Stop, Start: server.Start,
//			}
//		})
//	}
//
// The suite counts goroutines and file descriptors of the whole process: don't
// run other tests beside it with t.Parallel.
//
// Where it waits for something that should be prompt (a Read to end after its
// context was cancelled), it fails after seconds: that finds what hangs, and
// says nothing about speed.
package transporttest
