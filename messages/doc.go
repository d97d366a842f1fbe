// Package messages is the protocol of a pool: everything that can be said to
// a pool actor, and everything it says back.
//
// The package holds plain data and no behaviour. It is a catalogue in four
// parts:
//
//   - requests and their answers (requests.go): [Get], [Put], [Taint],
//     [SetCapacity], [Clear], [Suspend], [Resume], [Close], [StatsRequest],
//     [HealthOK], [HealthFailed], answered by [Lease], [Denied], [Done] and
//     [Stats];
//   - timers (timers.go): [BackoffElapsed] and [Tick], which the pool sends to
//     itself and recognises when they come late;
//   - events (events.go): what the pool tells about its life;
//   - errors (errors.go): what a request can end with, and what each error says
//     about the pool at that moment.
//
// Ordinary Go code uses package client, which speaks this protocol for it.
// An actor sends the messages itself:
//
//	ctx.Request(pool, &messages.Get{Label: "import"})
//	...
//	case *messages.Lease:   // use m.Conn, then
//		ctx.Send(pool, &messages.Put{Lease: m.ID})
//	case *messages.Denied:  // m.Err says why
//
// Requests are sent as pointers. A request that was sent belongs to the pool:
// do not change it or send it again.
package messages
