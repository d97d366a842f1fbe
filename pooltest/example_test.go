package pooltest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/pooltest"
)

// shop is a small service: it takes orders, and stores each over a connection of its pool.
// It does not know what a connection is: *pgx.Conn in production, *pooltest.Conn here.
type shop[C any] struct {
	pool  *client.Pool[C]
	store func(ctx context.Context, conn C, order int) error
}

// order stores an order within three seconds. It tries again when that fails, because to
// store an order twice has the effect of storing it once.
func (s *shop[C]) order(ctx context.Context, order int) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		err := s.pool.Do(ctx, func(ctx context.Context, conn C) error { return s.store(ctx, conn, order) })
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// The database is away from the 10th to the 40th second, and fifty customers come each
// second.
func TestTheShopSurvivesAnOutageOfItsDatabase(t *testing.T) {
	const seed = 1
	synctest.Test(t, func(t *testing.T) {
		db := pooltest.NewServer(seed)
		db.Handshake = pooltest.LogNormal(20*time.Millisecond, .5) // half take longer than 20ms
		db.Op = pooltest.LogNormal(8*time.Millisecond, .8)
		db.Limit = 10
		db.Fault(pooltest.Refuse, 10*time.Second, 40*time.Second)

		pool, err := client.New(client.Config[*pooltest.Conn]{
			Name: "orders", Capacity: 10, Connect: db.Dial, Seed: seed,
			Backoff:   client.Backoff{Cap: 2 * time.Second}, // the longest pause between two attempts
			LeakAfter: time.Minute,                          // so that Check can say where a Get was
		})
		if err != nil {
			t.Fatal(err)
		}
		service := &shop[*pooltest.Conn]{pool: pool, store: func(ctx context.Context, conn *pooltest.Conn, _ int) error {
			return conn.Write(ctx)
		}}

		var mu sync.Mutex
		var stored, failed int
		var last time.Duration // when the last customer came whose order failed
		random := rand.New(rand.NewPCG(seed, 0))
		var customers sync.WaitGroup
		for n := 0; db.Now() < time.Minute; n++ {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(20*time.Millisecond)))
			customers.Go(func() {
				came := db.Now()
				err := service.order(t.Context(), n)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					stored++
				} else {
					failed++
					last = max(last, came)
				}
			})
		}
		customers.Wait()

		t.Logf("%d orders stored, %d failed, the last of them came at %v; %d connects, %d of them failed",
			stored, failed, last, db.Dials(), db.Failed())
		if last > 41*time.Second {
			t.Errorf("the shop is not well a second after its database: an order of %v failed", last)
		}
		if n := db.Failed(); n > 40 {
			t.Errorf("%d connects to a database that was away", n)
		}
		pooltest.Check(t, pool, db)
		if err := pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
		pooltest.Check(t, pool, db) // and nothing is left
	})
}

// In real time, outside of a bubble: the server goes away and comes back when the test
// says so.
func Example() {
	ctx := context.Background()
	db := pooltest.NewServer(1)
	db.Op = pooltest.Exactly(5 * time.Millisecond)
	pool, err := client.New(client.Config[*pooltest.Conn]{
		Connect: db.Dial, Capacity: 1, Backoff: client.Backoff{Base: 50 * time.Millisecond, Cap: 50 * time.Millisecond},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	write := func() error {
		return pool.Do(ctx, func(ctx context.Context, c *pooltest.Conn) error { return c.Write(ctx) })
	}

	fmt.Println("before:", write())
	db.Fault(pooltest.Refuse, db.Now(), pooltest.Forever)
	fmt.Println("the connection that was open breaks:", errors.Is(write(), syscall.ECONNRESET))
	fmt.Println("a new one is refused:", errors.Is(write(), syscall.ECONNREFUSED))
	db.Recover()
	fmt.Println("after:", write())
	fmt.Println("close:", pool.Close(ctx))
	// Output:
	// before: <nil>
	// the connection that was open breaks: true
	// a new one is refused: true
	// after: <nil>
	// close: <nil>
}
