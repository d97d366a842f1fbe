package forecast_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/actorpool/actorpool/forecast"
	"github.com/actorpool/actorpool/messages"
)

func ExamplePredict() {
	// A recording comes from client.Pool.Record, or from a file by messages.ReadRecording.
	rnd := rand.New(rand.NewPCG(1, 1))
	r := &messages.Recording{Version: messages.RecordingVersion, Pool: "orders", Capacity: 8}
	for range 5000 {
		r.Length += time.Duration(rnd.ExpFloat64() * float64(4*time.Millisecond))
		r.Gets = append(r.Gets, messages.RecordedGet{
			At: r.Length, Hold: time.Duration(rnd.ExpFloat64() * float64(10*time.Millisecond)), Outcome: messages.RecordedGranted,
		})
	}
	for _, b := range forecast.Predict(r, forecast.WhatIf{Capacities: []int{2, 4, 6}}) {
		if b.Err != nil {
			fmt.Println(b.Err)
			return
		}
		fmt.Printf("%d: %s\n", b.Capacity, b.Words)
	}
	// Output:
	// 2: Does not keep up: the load is 121 %.
	// 4: Keeps up at 61 % load. 30 % of the Gets wait. The mean wait is 1.71 ms and should lie between 854 µs and 3.62 ms. One Get in a hundred waits longer than 18.2 ms (13.7 ms to 25.7 ms).
	// 6: Keeps up at 40 % load. 4 % of the Gets wait. The mean wait is 85.3 µs and should lie between 37.3 µs and 371 µs. One Get in a hundred waits longer than 2.92 ms (1.51 ms to 4.78 ms).
}
