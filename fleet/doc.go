// Package fleet shares one budget of connections among many processes.
//
// Each process has a pool to the same server, and is a member of the fleet. What all of
// them hold together is never more than the budget, whoever crashes, freezes or is cut off;
// and what one does not need goes to those who do, by max-min fairness. Nothing of it is on
// the way of a Get or a Put: the fleet only sets the capacity of the pool.
//
//	pool, member, err := fleet.New(ctx, client.Config[*pgx.Conn]{Connect: connect}, fleet.Config{
//		Key: "orders", Budget: 97, Store: etcdstore.New(etcd),
//	})
//	defer member.Leave(ctx)
//
// docs/fleet.md says what is guaranteed under which assumptions, and what to do in which
// failure. The package is experimental: its names may still change.
//
// # Who decides
//
// The decisions are pure, in package machine: what a member may hold, and how the budget
// is dealt. Here they are performed. One actor beside the pool owns the member's state. Its
// timers are messages, and so are the answers of the store and of the pool.
package fleet
