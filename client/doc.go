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
// [Pool.Do] does all of this, and decides by the error whether the connection can be
// used again.
//
// A pool is an actor. [New] gives it an actor system of its own; [Spawn] makes it in
// an existing system; [Props] lets the program spawn it; and [Attach] makes a Pool
// for an actor that is running already. All of them use the protocol of package
// messages.
package client
