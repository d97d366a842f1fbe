package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/actorpool/actorpool/adapters/sqlpool"
	"github.com/actorpool/actorpool/client"
)

// sqlite is a store in a file that is removed at the end. The *sql.DB serves the queries; the pool
// beside it has what *sql.DB lacks.
type sqlite struct {
	db     *sql.DB
	conns  *client.Pool[driver.Conn]
	folder string
}

func openSQLite(ctx context.Context) (store, error) {
	folder, err := os.MkdirTemp("", "shop-")
	if err != nil {
		return nil, err
	}
	s := &sqlite{folder: folder}
	// With a write-ahead log, readers do not wait for the one writer. Writers wait for each other: a
	// transaction takes the lock at its begin, where waiting for it cannot be a deadlock.
	parameters := url.Values{"_pragma": {"journal_mode(WAL)", "busy_timeout(5000)"}, "_txlock": {"immediate"}}
	name := "file:" + filepath.ToSlash(filepath.Join(folder, "shop.db")) + "?" + parameters.Encode()
	s.db, s.conns, err = sqlpool.Open("sqlite", name, sqlpool.Config{
		Name: "shop", Capacity: capacity, GetTimeout: getTimeout, LeakAfter: leakAfter, Logger: slog.Default(),
	})
	if err == nil {
		if _, err = s.db.ExecContext(ctx, create); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, s.close(ctx))
}

func (s *sqlite) pool() pool { return s.conns }

func (s *sqlite) products(ctx context.Context) (all []product, err error) {
	rows, err := s.db.QueryContext(sqlpool.WithLabel(ctx, "products"), list)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }() // returns the connection
	for rows.Next() {
		var p product
		if err := rows.Scan(&p.Name, &p.Cents, &p.Stock); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

func (s *sqlite) order(ctx context.Context, product string, count int) (left int, err error) {
	err = s.inTx(sqlpool.WithLabel(ctx, "order of "+product), nil, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, take, product, count).Scan(&left); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, note, product, count)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = errNotInStock
	}
	return left, err
}

func (s *sqlite) report(ctx context.Context, pause time.Duration) (map[string]int, error) {
	all, err := s.products(ctx)
	if err != nil {
		return nil, err
	}
	total := make(map[string]int)
	err = s.inTx(sqlpool.WithLabel(ctx, "report"), &sql.TxOptions{ReadOnly: true}, func(tx *sql.Tx) error {
		for _, p := range all {
			var n int
			if err := tx.QueryRowContext(ctx, sold, p.Name).Scan(&n); err != nil {
				return err
			}
			if err := work(ctx, pause); err != nil {
				return err
			}
			total[p.Name] = n
		}
		return nil
	})
	return total, err
}

func (s *sqlite) inTx(ctx context.Context, o *sql.TxOptions, f func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it has no effect
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// close closes the pool, too: see sqlpool.Config.CloseTimeout.
func (s *sqlite) close(context.Context) (err error) {
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}
