package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/adapters/pgxpool"
	"github.com/actorpool/actorpool/client"
)

// postgres is a store in a schema of its own, which is removed at the end.
type postgres struct {
	conns  *pgxpool.Pool
	schema string
}

func openPostgres(ctx context.Context, url string) (store, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	s := &postgres{schema: fmt.Sprintf("shop_%x", time.Now().UnixNano())} // several runs do not disturb each other
	cfg.MaxConns = capacity
	cfg.ConnConfig.ConnectTimeout = time.Second // below getTimeout: the first caller is told why there is no connection
	cfg.ConnConfig.RuntimeParams["search_path"] = s.schema
	s.conns, err = pgxpool.NewWithConfig(ctx, cfg, pgxpool.Name("shop"), pgxpool.LeakAfter(leakAfter), pgxpool.Logger(slog.Default()),
		pgxpool.Configure(func(c *client.Config[*pgx.Conn]) { c.GetTimeout = getTimeout }))
	if err != nil {
		return nil, err
	}
	// Without arguments, all statements are one message and one transaction.
	if _, err = s.conns.Exec(pgxpool.WithLabel(ctx, "create"), "CREATE SCHEMA "+s.schema+";"+create); err != nil {
		return nil, errors.Join(err, s.conns.Underlying().Close(context.Background()))
	}
	return s, nil
}

func (s *postgres) pool() pool { return s.conns.Underlying() }

func (s *postgres) products(ctx context.Context) ([]product, error) {
	rows, err := s.conns.Query(pgxpool.WithLabel(ctx, "products"), list)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[product])
}

func (s *postgres) order(ctx context.Context, product string, count int) (left int, err error) {
	err = s.conns.InTx(pgxpool.WithLabel(ctx, "order of "+product), func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, take, product, count).Scan(&left); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, note, product, count)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = errNotInStock
	}
	return left, err
}

func (s *postgres) report(ctx context.Context, pause time.Duration) (map[string]int, error) {
	all, err := s.products(ctx)
	if err != nil {
		return nil, err
	}
	total := make(map[string]int)
	o := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = s.conns.InTxWith(pgxpool.WithLabel(ctx, "report"), o, func(ctx context.Context, tx pgx.Tx) error {
		for _, p := range all {
			var n int
			if err := tx.QueryRow(ctx, sold, p.Name).Scan(&n); err != nil {
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

func (s *postgres) close(ctx context.Context) error {
	_, err := s.conns.Exec(ctx, "DROP SCHEMA IF EXISTS "+s.schema+" CASCADE")
	return errors.Join(err, s.conns.Underlying().Close(ctx)) // Close of s.conns has no bound
}
