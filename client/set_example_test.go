package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/actorpool/actorpool/client"
)

func ExampleNewSet() {
	ctx := context.Background()
	set, err := client.NewSet(client.SetConfig[string, *conn]{
		New: func(tenant string) client.Config[*conn] {
			return client.Config[*conn]{Connect: connector(), GetTimeout: 5 * time.Second}
		},
		Total:    100,             // of all tenants together
		MaxPools: 1000,            // the least recently used is closed
		Idle:     5 * time.Minute, // and so is what nobody uses
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = set.Do(ctx, "tenant-7", func(_ context.Context, c *conn) error {
		fmt.Println("connection", c.id)
		return nil
	})
	fmt.Println("do:", err)
	fmt.Println("pools with open connections:", set.Pool("tenant-7").Stats().Open)
	fmt.Println("close:", set.Close(ctx))
	// Output:
	// connection 1
	// do: <nil>
	// pools with open connections: 1
	// close: <nil>
}
