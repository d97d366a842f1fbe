// Package pgfence has back the connections of dead members by evidence, on PostgreSQL.
//
// Every incarnation of a member has a login role of its own, which is created when it joins
// and dropped when it has left, and is never used again. To have back what a dead one was
// charged for, the fence refuses the role's logins (NOLOGIN), ends its sessions, and counts
// them. Once there are none, none can come: also not from a process that was frozen and
// goes on. With [Roles] it uses roles that are there instead. It needs PostgreSQL 14 or later.
//
// The role of the admin URL needs CREATEROLE and pg_signal_backend, and with ActAs the right
// to grant that role (ADMIN OPTION). Give it a CONNECTION LIMIT of 1: then the fence has at
// most one connection in the whole fleet, which the budget must leave room for. Members
// that do not get it wait to join, and do not reclaim.
package pgfence

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/actorpool/actorpool/fleet"
)

// Fence is a fleet.Fence on PostgreSQL. One process has one.
type Fence struct {
	admin  string
	secret []byte
	options
}

type options struct {
	actAs  string
	settle time.Duration
	weak   bool

	prepared bool // Roles
	format   string
	n        int
}

// Option changes a Fence.
type Option func(*options)

// ActAs has every session act as a role, as SET ROLE does: that owns what is created, and
// has the rights. Without it the roles of the incarnations have only the rights of PUBLIC.
func ActAs(role string) Option { return func(o *options) { o.actAs = role } }

// Settle sets how long the fence waits between refusing logins and counting sessions.
// Default: 250ms. A login that PostgreSQL has let in before is not among the sessions for
// an instant; the fence relies on it being there after this time.
func Settle(d time.Duration) Option { return func(o *options) { o.settle = d } }

// WithoutRefusingLogins has no roles: sessions are found by application_name, which
// [Fence.Identify] sets and which a session must not change. The budget then also needs
// that no process is frozen between its decision to connect and its first packet.
func WithoutRefusingLogins() Option { return func(o *options) { o.weak = true } }

var _ fleet.Fence = (*Fence)(nil)

// New makes a fence. It connects to adminURL when it is needed, and not before.
// fleet.New checks that it may do what it must.
func New(adminURL string, opts ...Option) *Fence {
	f := &Fence{admin: adminURL, secret: make([]byte, 32), options: options{settle: 250 * time.Millisecond}}
	_, _ = rand.Read(f.secret) // it never fails
	for _, o := range opts {
		o(&f.options)
	}
	return f
}

const prefix = "fleet_"

// role is the login role of an incarnation.
func role(incarnation string) string { return prefix + incarnation }

// password is known to this process only.
func (f *Fence) password(incarnation string) string {
	h := hmac.New(sha256.New, f.secret)
	h.Write([]byte(incarnation))
	return hex.EncodeToString(h.Sum(nil))
}

// Identify makes a configuration that of the present incarnation, inside of Connect: its
// user, its password and its application_name.
func (f *Fence) Identify(ctx context.Context, cfg *pgx.ConnConfig) {
	inc := fleet.Incarnation(ctx)
	if cfg.RuntimeParams == nil {
		cfg.RuntimeParams = make(map[string]string)
	}
	cfg.RuntimeParams["application_name"] = inc
	switch {
	case f.weak:
	case f.prepared:
		cfg.User, cfg.Password = f.roleOf(fleet.Slot(ctx)), f.password(inc)
	default:
		cfg.User, cfg.Password = role(inc), f.password(inc)
	}
}

// Grace implements fleet.Reclaimer: evidence needs none.
func (f *Fence) Grace() time.Duration { return 0 }

// tooMany is PostgreSQL's code for a role at its CONNECTION LIMIT, and for a full server.
const tooMany = "53300"

// connect connects as the admin; busy: another member does now.
func (f *Fence) connect(ctx context.Context) (conn *pgx.Conn, busy bool, err error) {
	conn, err = pgx.Connect(ctx, f.admin)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == tooMany {
		return nil, true, nil
	}
	return conn, false, err
}

// with runs something on an admin connection. It waits until there is one.
func (f *Fence) with(ctx context.Context, do func(*pgx.Conn) error) error {
	for {
		conn, busy, err := f.connect(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("pgfence: %w", err)
		case !busy:
			defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing follows from it
			return do(conn)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("pgfence: the admin role has as many connections as it may: %w", ctx.Err())
		}
	}
}

// Check implements fleet.Fence: it does everything once, and takes it back.
func (f *Fence) Check(ctx context.Context) error {
	if f.prepared {
		if err := f.checkRoles(); err != nil {
			return err
		}
	}
	return f.with(ctx, func(conn *pgx.Conn) error {
		var ends bool
		err := conn.QueryRow(ctx, "SELECT pg_has_role(current_user, 'pg_signal_backend', 'USAGE')").Scan(&ends)
		if err != nil {
			return fmt.Errorf("pgfence: %w", err)
		}
		if !ends {
			return fmt.Errorf("pgfence: the role %s must not end sessions: GRANT pg_signal_backend TO %s",
				conn.Config().User, pgx.Identifier{conn.Config().User}.Sanitize())
		}
		if f.weak {
			return nil
		}
		if f.prepared {
			return f.checkPrepared(ctx, conn)
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return fmt.Errorf("pgfence: %w", err)
		}
		defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the connection closes
		trial := "check_" + rand.Text()
		err = f.create(ctx, tx, trial)
		if err == nil {
			_, err = tx.Exec(ctx, "ALTER ROLE "+pgx.Identifier{role(trial)}.Sanitize()+" NOLOGIN")
		}
		if err != nil {
			return fmt.Errorf("pgfence: the role %s must have CREATEROLE, and with ActAs ADMIN OPTION on that role: %w", conn.Config().User, err)
		}
		return nil
	})
}

type executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (f *Fence) create(ctx context.Context, on executor, incarnation string) error {
	name, groups := pgx.Identifier{role(incarnation)}.Sanitize(), ""
	if f.actAs != "" {
		groups = " IN ROLE " + pgx.Identifier{f.actAs}.Sanitize()
	}
	_, err := on.Exec(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'%s", name, f.password(incarnation), groups))
	if err == nil && f.actAs != "" {
		_, err = on.Exec(ctx, fmt.Sprintf("ALTER ROLE %s SET role = %s", name, pgx.Identifier{f.actAs}.Sanitize()))
	}
	return err
}

// Admit implements fleet.Fence: it creates the role, if there is one for each incarnation.
func (f *Fence) Admit(ctx context.Context, incarnation string) error {
	if f.weak || f.prepared {
		return nil
	}
	return f.with(ctx, func(conn *pgx.Conn) error { return f.create(ctx, conn, incarnation) })
}

// Retire implements fleet.Fence: it drops the role, or closes that of the slot.
func (f *Fence) Retire(ctx context.Context, incarnation string) error {
	if f.weak {
		return nil
	}
	if f.prepared {
		return f.closeRoleOf(ctx, incarnation)
	}
	return f.with(ctx, func(conn *pgx.Conn) error { return drop(ctx, conn, incarnation) })
}

func drop(ctx context.Context, conn *pgx.Conn, incarnation string) error {
	_, err := conn.Exec(ctx, "DROP ROLE IF EXISTS "+pgx.Identifier{role(incarnation)}.Sanitize())
	return err
}

// lock is the number of the advisory lock of whoever reclaims.
const lock = 0x666c656574

// Reclaim implements fleet.Reclaimer. Without the admin connection or the lock it does
// nothing: another member does.
func (f *Fence) Reclaim(ctx context.Context, suspects []string) (gone []string, err error) {
	conn, busy, err := f.connect(ctx)
	if err != nil || busy {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing follows from it
	var locked bool
	if err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lock).Scan(&locked); err != nil || !locked {
		return nil, err
	}
	names, err := f.refuseAll(ctx, conn, suspects)
	if err != nil {
		return nil, err
	}
	if _, err = f.left(ctx, conn, names); err != nil {
		return nil, err
	}
	select {
	case <-time.After(f.settle):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	left, err := f.left(ctx, conn, names)
	if err != nil {
		return nil, err
	}
	for i, inc := range suspects {
		if left[names[i]] {
			continue
		}
		if !f.weak && !f.prepared {
			if err = drop(ctx, conn, inc); err != nil {
				return nil, err
			}
		}
		gone = append(gone, inc)
	}
	return gone, nil
}

// refuseAll refuses the logins of the suspects, and gives the names that their sessions have;
// "": there are none.
func (f *Fence) refuseAll(ctx context.Context, conn *pgx.Conn, suspects []string) (names []string, err error) {
	if f.weak {
		return suspects, nil
	}
	names = make([]string, len(suspects))
	if f.prepared {
		of, err := f.refuseRoles(ctx, conn, suspects)
		for i, inc := range suspects {
			names[i] = of[inc]
		}
		return names, err
	}
	for i, inc := range suspects {
		names[i] = role(inc)
		if err = refuse(ctx, conn, names[i]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// refuse refuses the logins of a role from now on. One that is not there cannot log in.
func refuse(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, "ALTER ROLE "+pgx.Identifier{name}.Sanitize()+" NOLOGIN")
	var failed *pgconn.PgError
	if errors.As(err, &failed) && failed.Code == "42704" { // undefined_object
		return nil
	}
	return err
}

// left says which of the names still have sessions, and ends these.
func (f *Fence) left(ctx context.Context, conn *pgx.Conn, names []string) (map[string]bool, error) {
	column := "usename"
	if f.weak {
		column = "application_name"
	}
	rows, err := conn.Query(ctx, "SELECT "+column+"::text, pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+column+"::text = ANY($1)", names)
	if err != nil {
		return nil, err
	}
	left := make(map[string]bool)
	var name string
	var told bool
	_, err = pgx.ForEachRow(rows, []any{&name, &told}, func() error { left[name] = true; return nil })
	return left, err
}
