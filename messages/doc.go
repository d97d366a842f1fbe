// Package messages is the protocol of a pool: everything that can be sent to a pool
// actor, and everything that it answers.
//
// The package holds plain data and no behaviour:
//
//   - requests and their answers (requests.go): [Get] is answered by [Lease] or
//     [Denied]; [Put], [Taint], [SetCapacity], [SetMinIdle], [Warm], [Clear], [Suspend],
//     [Resume] and [Close] by [Done]; [Release] by [Released]; [ExplainRequest] by
//     [Explanation]; [StatsRequest] by [Stats]; [HealthRequest] by [Health]; [HealthOK]
//     and [HealthFailed] are not answered;
//   - timers (timers.go): [BackoffElapsed] and [Tick], which the pool sends to itself;
//   - events (events.go): what the pool reports about itself, as [Event];
//   - errors (errors.go): the errors of requests, which describe the pool at the
//     moment of the error.
//
// [Stats], [Explanation] and [Event] marshal to JSON, with all that they say, under
// the names of their fields with a small first letter. Errors and settings are texts
// there, and durations are numbers of nanoseconds.
//
// Ordinary Go code uses package client, which sends these messages. An actor sends
// them itself:
//
//	ctx.Request(pool, &messages.Get{Label: "import"})
//	...
//	case *messages.Lease:   // use m.Conn, then
//		ctx.Send(pool, &messages.Put{Lease: m.ID})
//	case *messages.Denied:  // m.Err says why
//
// Requests are sent as pointers. After sending one, do not change it or send it
// again. A nil pointer is answered by a [Done] with a *[ConfigError].
//
// After Close has begun, a Get is answered by a Denied with [ErrClosed], and the other
// requests by a Done with ErrClosed, except these: Put and Taint end their leases as
// before; Close, Release, StatsRequest and HealthRequest are answered as before; and
// ExplainRequest and MeasuresRequest are, until the last connection is closed. Then the
// actor stops, and the library answers requests to it as those to any other stopped
// actor.
package messages
