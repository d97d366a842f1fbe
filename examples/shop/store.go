package main

import (
	"context"
	"errors"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// store is the database of the shop, with the pool of its connections.
type store interface {
	products(ctx context.Context) ([]product, error)
	// order returns how many of the product are left in stock.
	order(ctx context.Context, product string, count int) (left int, err error)
	// report says how many of each product were sold, at one moment. It takes the pause for each
	// product, and holds its connection meanwhile.
	report(ctx context.Context, pause time.Duration) (map[string]int, error)
	pool() pool
	close(ctx context.Context) error
}

// pool is what the page, the metrics and the readiness probe ask. A *client.Pool[C] is one, for any C.
type pool interface {
	Stats() messages.Stats
	Done() <-chan struct{}
	Explain(ctx context.Context) (messages.Explanation, error)
	Measure(ctx context.Context) (messages.Measures, error)
	Health() messages.Health
}

type product struct {
	Name  string `json:"name"`
	Cents int    `json:"cents"`
	Stock int    `json:"stock"`
}

var errNotInStock = errors.New("there is no such product, or not so many of it are in stock")

const (
	capacity   = 4
	getTimeout = 2 * time.Second // a caller that waits longer for a connection is told so
	leakAfter  = 3 * time.Second // who holds one for longer is reported, with its stack
)

// The SQL of both databases.
const (
	create = `CREATE TABLE products (name text PRIMARY KEY, cents integer NOT NULL, stock integer NOT NULL);
		CREATE TABLE orders (product text NOT NULL, count integer NOT NULL);
		INSERT INTO products VALUES ('coffee', 450, 1000000), ('cup', 900, 1000000), ('pot', 2900, 3), ('tea', 380, 1000000);`
	list = "SELECT name, cents, stock FROM products ORDER BY name"
	take = "UPDATE products SET stock = stock - $2 WHERE name = $1 AND stock >= $2 RETURNING stock"
	note = "INSERT INTO orders (product, count) VALUES ($1, $2)"
	sold = "SELECT coalesce(sum(count), 0) FROM orders WHERE product = $1"
)

// work is what a report does for each product.
func work(ctx context.Context, pause time.Duration) error {
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
