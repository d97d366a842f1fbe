// Package forecast says how long Gets would have waited had the pool had another capacity. It
// takes a [messages.Recording] of a real pool, which client.Pool.Record makes, and plays its
// arrivals and holds into the state machine that decides in the pool, in virtual time. So the
// queueing is exact. What it cannot know is how long connections would be held: that may
// depend on how many are in use at once. Therefore each forecast is a [Band], made of three
// runs in which holds are 0.9, 1 and 1.1 times as long as recorded.
//
//	recording, err := pool.Record(ctx, client.RecordOptions{})
//	…
//	for _, band := range forecast.Predict(recording, forecast.WhatIf{Capacities: []int{4, 16}}) {
//		fmt.Println(band.Words)
//	}
//
// # Who asks again
//
// A goroutine with many Gets is a session: it asks, holds, returns, does something else, and
// asks again. In the forecast its next Get comes as long after its last return as in the
// recording, so a session that waits for longer also asks later. A goroutine with one Get is
// an arrival from outside: its Get comes when it came. With [WhatIf.Open] all Gets do.
//
// # What it promises
//
// Up to 65 % predicted load, the mean wait within a factor of two, if the traffic is like the
// recorded one, even, and holds do not depend on the load: see [Band.Promised]. Above that the wait grows so steeply with
// the length of the holds that no factor is promised, and above 90 % only whether the pool
// keeps up. docs/forecast.md has the trials on a real server behind these numbers.
//
// The package only computes. It changes no pool, reads no clock and starts no goroutine: the
// same recording and the same WhatIf give the same bands.
package forecast
