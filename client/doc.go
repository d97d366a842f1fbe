// Package client is a connection pool for ordinary Go code.
//
//	pool, err := client.New(client.Config[net.Conn]{
//		Connect: func(ctx context.Context) (net.Conn, error) {
//			var d net.Dialer
//			return d.DialContext(ctx, "tcp", address)
//		},
//		Capacity: 8,
//	})
//	...
//	lease, err := pool.Get(ctx)
//	if err != nil {
//		return err
//	}
//	defer lease.Put()
//	use(lease.Conn())
//
// [Pool.Do] wraps that, and decides by the error whether the connection is
// still good.
//
// A pool is an actor. [New] gives it an actor system of its own; [Spawn] puts
// it into yours, [Props] lets you spawn it yourself, and [Attach] makes a Pool
// for one that somebody else has spawned. All of them speak the protocol of
// package messages.
package client
