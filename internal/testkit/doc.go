// Package testkit holds what the tests of several packages share: a fake server,
// pools that run in virtual time, Gets on goroutines of their own, actors that
// borrow, and checks of a pool's counters. Only tests import it.
//
// A test begins with [Run], which gives it a [World] and runs it twice: with the
// pool's own mailbox, and with the default mailbox of the actor library.
//
//	testkit.Run(t, func(t *testing.T, w *testkit.World) {
//		p := w.Pool(testkit.Capacity(1))
//		held := testkit.Get(t, p)
//		g := testkit.BeginGet(ctx, p)
//		g.Waits(t)
//		testkit.Put(t, held)
//		testkit.Put(t, g.Granted(t))
//	})
//
// Time is virtual there: see testing/synctest. A function that says "waits until
// all is quiet" calls synctest.Wait, and can be called only in such a test.
package testkit
