// Command benchmarks measures connection pools side by side and writes the
// results, as data, table and plots.
//
//	go -C benchmarks run . -rounds 7
//
// See docs/benchmarks.md for what is measured and why.
package main
