package testkit

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// CollectUntil runs the garbage collector until something has been noticed. The
// runtime reports garbage on a goroutine of its own, so one run may not be
// enough.
func CollectUntil(t testing.TB, noticed func() bool) {
	t.Helper()
	for range 2000 {
		runtime.GC()
		if noticed() {
			return
		}
	}
	require.Fail(t, "the garbage is not noticed")
}

// CollectAll runs the garbage collector for as long as it takes to notice what
// is garbage now.
func CollectAll(t testing.TB) {
	t.Helper()
	gone := new(atomic.Bool)
	runtime.AddCleanup(&struct{ _ [2]uint64 }{}, func(gone *atomic.Bool) { gone.Store(true) }, gone)
	CollectUntil(t, gone.Load)
	runtime.GC()
}

// RaceEnabled says whether the race detector is on.
func RaceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
