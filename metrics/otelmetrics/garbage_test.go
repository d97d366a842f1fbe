package otelmetrics_test

import "runtime"

// watch closes collected when source is garbage.
func watch(source *fake, collected chan struct{}) {
	runtime.AddCleanup(source, func(c chan struct{}) { close(c) }, collected)
}
