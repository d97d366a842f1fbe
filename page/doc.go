// Package page is a live page for pools: an [http.Handler] that says in one sentence what
// a pool does at the moment and what is wrong with it, and shows its connections, the
// callers that wait, the last five minutes, and who holds what since when.
//
//	pages := page.New(page.Options{}, orders, cache)
//	defer pages.Close()
//	mux.Handle("/debug/pools/", pages)
//
// The page is read-only. It has no authentication: mount it behind yours, or on a port of
// the loopback interface. See docs/observability.md.
//
// While nobody looks, the page reads a pool's Stats once a second, for the charts. While
// somebody does, it asks for one Explain and one Measure a second, however many look.
package page
