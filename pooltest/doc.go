// Package pooltest lets the tests of a service rehearse what its server may do: be slow,
// refuse, fall silent, break connections, refuse to write. It has a server that exists
// only in the test ([Server]), whose latencies are random and whose faults follow a
// script, and [Check], which says at the end of a test what is wrong with a pool.
//
//	synctest.Test(t, func(t *testing.T) {
//		db := pooltest.NewServer(seed)
//		db.Op, db.Limit = pooltest.LogNormal(8*time.Millisecond, .8), 10
//		db.Fault(pooltest.Refuse, 10*time.Second, 40*time.Second)
//		pool, err := client.New(client.Config[*pooltest.Conn]{Capacity: 10, Connect: db.Dial, Seed: seed})
//		...
//		pooltest.Check(t, pool, db)
//	})
//
// In a bubble of testing/synctest time is virtual: a rehearsal of an hour takes seconds.
// Outside of one everything works the same in real time.
//
// # What repeats
//
// Randomness is that of the seed, and each connection has its own: what one connection
// does changes nothing in the latencies of another. A connection that a pool opens takes
// its randomness from the pool's name and from the id that the pool gave it, so it does
// not matter which of two simultaneous connects comes first. What many connections notice
// at once, such as the beginning of a fault, each notices at a moment of its own within a
// millisecond. So in virtual time, a test whose callers take their random numbers from
// seeds, too, and whose pool has a Config.Seed, has the same [History] in each run.
// Whatever happens at exactly the same moment has no order: prefer random latencies to
// [Exactly] where a run must repeat itself.
//
// # What the errors are
//
// The errors are those that the drivers of real servers give: a *net.OpError with
// ECONNREFUSED or ECONNRESET in it, the error of the context, and a [ServerError], which
// has SQLState. client.Broken and actors.Classify know what they mean.
package pooltest
