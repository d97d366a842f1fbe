// Command benchmarks measures connection pools in turn and writes the results as data, a table
// and plots.
//
//	go -C benchmarks run . -rounds 7
//
// See docs/benchmarks.md for what is measured and why.
package main
