// Bench measures waybill against the programs people use today, side by side in
// one run, and writes the tables into BENCHMARKS.md.
//
//	go run ./bench [-quick] [-case a,b,c,d,e,f,g,h] [-runs N]
//
// How it is kept fair: all programs get the same content from the same server,
// which was read once before anything is measured, into an empty directory on
// the same file system, one after the other in turn (A B C, A B C, …), with all
// dirty pages written out in between. Servers are other processes than the one
// measured. CPU seconds are user and system time of the finished program, peak
// memory its largest resident set, both as the kernel accounts for them; where a
// daemon does the work (containerd) its share is added. Medians are shown, with
// the least and the most.
package main
