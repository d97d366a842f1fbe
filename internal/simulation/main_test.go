package simulation_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	stormFor = flag.Duration("storm", 5*time.Second, "how long all storms of goroutines take together")
	hours    = flag.Int("hours", 2, "with how many seeds the hour of virtual time runs")
	hourSeed = flag.Uint64("hour-seed", 1, "the first of these seeds")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()
