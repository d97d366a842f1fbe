package pgfence

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/actorpool/actorpool/fleet"
)

// Roles has the fence use n login roles that an operator has made, one for each slot of the
// fleet, instead of one for each incarnation: "app_%d" and 32 are app_0 to app_31. The fence
// creates and drops none. Before a member uses the role of its slot, the fence gives the role
// a password that only this member knows, and notes the member in the role's comment. When
// the member has left or died, the fence takes the right to log in and the password away.
// After a death the role rests for PostgreSQL's authentication_timeout: a login that had
// begun before could otherwise succeed when the role may log in again.
//
// pg_hba.conf must demand a password of these roles, as scram-sha-256 does; the fence tries
// it, with the host and the database of the admin URL. The roles belong to one fleet, whose
// members must have the same admin URL. The admin role needs ADMIN OPTION on each of them from
// PostgreSQL 16 on, and CREATEROLE in every version: PostgreSQL demands it of whoever changes
// another role.
func Roles(format string, n int) Option {
	return func(o *options) { o.prepared, o.format, o.n = true, format, n }
}

var _ fleet.SlotFence = (*Fence)(nil)

// Slots implements fleet.SlotFence: it is the number of Roles, and 0 without.
func (f *Fence) Slots() int {
	if f.prepared {
		return f.n
	}
	return 0
}

// roleOf is the login role of a slot.
func (f *Fence) roleOf(slot int) string { return fmt.Sprintf(f.format, slot) }

// names are the login roles of all slots.
func (f *Fence) names() []string {
	all := make([]string, f.n)
	for i := range all {
		all[i] = f.roleOf(i)
	}
	return all
}

// checkRoles says what is wrong with the options.
func (f *Fence) checkRoles() error {
	switch {
	case f.n < 1:
		return fmt.Errorf("pgfence: Roles: %d roles are less than 1", f.n)
	case f.roleOf(0) == f.roleOf(1) || strings.Contains(f.roleOf(0), "%!"):
		return fmt.Errorf("pgfence: Roles: %q has no number in it, as \"app_%%d\" has", f.format)
	case f.weak:
		return errors.New("pgfence: Roles and WithoutRefusingLogins exclude each other")
	case f.actAs != "":
		return errors.New("pgfence: Roles and ActAs exclude each other: ALTER ROLE … SET role of the roles themselves")
	}
	return nil
}

// mark is the comment of a role: who uses it, or has used it.
type mark struct {
	incarnation string
	refused     time.Time // when it had died; zero: it has not
}

const (
	markUsed    = "fleet: used by "
	markRefused = ", refused at "
)

// String is the comment.
func (m mark) String() string {
	if m.refused.IsZero() {
		return markUsed + m.incarnation
	}
	return markUsed + m.incarnation + markRefused + m.refused.UTC().Format(time.RFC3339Nano)
}

// readMark reads the comment of a role. One that is not the fence's is no mark.
func readMark(name, comment string) (m mark, err error) {
	text, ok := strings.CutPrefix(comment, markUsed)
	if !ok {
		return m, nil
	}
	var at string
	m.incarnation, at, ok = strings.Cut(text, markRefused)
	if ok {
		if m.refused, err = time.Parse(time.RFC3339Nano, at); err != nil {
			err = fmt.Errorf("pgfence: the comment of the role %s, %q, cannot be read: %w", name, comment, err)
		}
	}
	return m, err
}

// marks are those of the roles that are there.
func (f *Fence) marks(ctx context.Context, conn *pgx.Conn) (map[string]mark, error) {
	rows, err := conn.Query(ctx, "SELECT rolname::text, coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname::text = ANY($1)", f.names())
	if err != nil {
		return nil, err
	}
	all := make(map[string]mark, f.n)
	var name, comment string
	_, err = pgx.ForEachRow(rows, []any{&name, &comment}, func() (err error) {
		all[name], err = readMark(name, comment)
		return err
	})
	return all, err
}

// closeRole takes the login and the password of a role away. Without the password a login that
// begins now fails, also if it ends when the role may log in again.
func closeRole(name string) string {
	return fmt.Sprintf("ALTER ROLE %s NOLOGIN PASSWORD NULL;", pgx.Identifier{name}.Sanitize())
}

// comment sets the comment of a role; "": none.
func comment(name, text string) string {
	quoted := "NULL"
	if text != "" {
		quoted = "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return fmt.Sprintf("COMMENT ON ROLE %s IS %s;", pgx.Identifier{name}.Sanitize(), quoted)
}

// alone runs something on an admin connection that has the lock: nobody reclaims meanwhile.
func (f *Fence) alone(ctx context.Context, do func(*pgx.Conn) error) error {
	return f.with(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
			return fmt.Errorf("pgfence: %w", err)
		}
		return do(conn)
	})
}

// Occupy implements fleet.SlotFence. It waits while the role rests.
func (f *Fence) Occupy(ctx context.Context, incarnation string, slot int, alive func(context.Context) error) error {
	name := f.roleOf(slot)
	for {
		var rest time.Duration
		err := f.alone(ctx, func(conn *pgx.Conn) (err error) {
			if err = alive(ctx); err == nil {
				rest, err = f.open(ctx, conn, name, incarnation)
			}
			return err
		})
		if err != nil || rest <= 0 {
			return err
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return fmt.Errorf("pgfence: the role %s rests for another %v after the death of a member: %w", name, rest.Round(time.Millisecond), ctx.Err())
		}
	}
}

// open gives a role a new password, and lets it log in, unless it must rest.
func (f *Fence) open(ctx context.Context, conn *pgx.Conn, name, incarnation string) (rest time.Duration, err error) {
	all, err := f.marks(ctx, conn)
	if err != nil {
		return 0, err
	}
	m, there := all[name]
	if !there {
		return 0, fmt.Errorf("pgfence: there is no role %s", name)
	}
	if !m.refused.IsZero() {
		var now time.Time
		var timeout float64
		err = conn.QueryRow(ctx, "SELECT clock_timestamp(), extract(epoch FROM current_setting('authentication_timeout')::interval)::float8").Scan(&now, &timeout)
		if err != nil {
			return 0, err
		}
		if rest = m.refused.Add(time.Duration(timeout*float64(time.Second)) + f.settle).Sub(now); rest > 0 {
			return rest, nil
		}
	}
	if _, err = conn.Exec(ctx, closeRole(name)); err != nil {
		return 0, err
	}
	left, err := f.left(ctx, conn, []string{name})
	if err != nil {
		return 0, err
	}
	if left[name] { // of somebody else: they are being ended
		return f.settle, nil
	}
	if err = f.demandsPassword(ctx, name); err != nil {
		return 0, err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '%s';", pgx.Identifier{name}.Sanitize(), f.password(incarnation))+
		comment(name, mark{incarnation: incarnation}.String()))
	return 0, err
}

// wrongPassword is PostgreSQL's code for it.
const wrongPassword = "28P01"

// demandsPassword makes sure that pg_hba.conf demands a password of a role, which may not log
// in at the moment: a member that was frozen would otherwise get in by the role when it has
// another user.
func (f *Fence) demandsPassword(ctx context.Context, name string) error {
	cfg, err := pgx.ParseConfig(f.admin)
	if err != nil {
		return fmt.Errorf("pgfence: %w", err)
	}
	cfg.User, cfg.Password = name, rand.Text()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err == nil {
		err = errors.New("the server let it in")
		_ = conn.Close(ctx)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == wrongPassword {
		return nil
	}
	return fmt.Errorf("pgfence: a wrong password of the role %s must be refused as one: pg_hba.conf must demand a password, as scram-sha-256 does: %w", name, err)
}

// closeRoleOf closes the role that an incarnation which holds nothing has occupied.
func (f *Fence) closeRoleOf(ctx context.Context, incarnation string) error {
	return f.alone(ctx, func(conn *pgx.Conn) error {
		all, err := f.marks(ctx, conn)
		if err != nil {
			return err
		}
		for name, m := range all {
			if m.incarnation == incarnation && m.refused.IsZero() {
				if _, err = conn.Exec(ctx, closeRole(name)+comment(name, "")); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// refuseRoles closes the roles that the suspects have occupied, notes when, and says which
// they are. A suspect that has not occupied one cannot any more: its lease has ended.
func (f *Fence) refuseRoles(ctx context.Context, conn *pgx.Conn, suspects []string) (of map[string]string, err error) {
	all, err := f.marks(ctx, conn)
	if err != nil {
		return nil, err
	}
	of = make(map[string]string)
	for name, m := range all {
		if !slices.Contains(suspects, m.incarnation) {
			continue
		}
		of[m.incarnation] = name
		if !m.refused.IsZero() {
			continue
		}
		if _, err = conn.Exec(ctx, closeRole(name)); err != nil {
			return nil, err
		}
		if err = conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&m.refused); err != nil {
			return nil, err
		}
		if _, err = conn.Exec(ctx, comment(name, m.String())); err != nil {
			return nil, err
		}
	}
	return of, nil
}

// checkPrepared makes sure that the roles are there and that the fence may change them. It
// does so once, and takes it back.
func (f *Fence) checkPrepared(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
		return fmt.Errorf("pgfence: %w", err)
	}
	rows, err := conn.Query(ctx, "SELECT rolname::text, rolcanlogin FROM pg_roles WHERE rolname::text = ANY($1) AND NOT rolsuper", f.names())
	if err != nil {
		return fmt.Errorf("pgfence: %w", err)
	}
	logsIn := make(map[string]bool, f.n)
	var name string
	var can bool
	if _, err = pgx.ForEachRow(rows, []any{&name, &can}, func() error { logsIn[name] = can; return nil }); err != nil {
		return fmt.Errorf("pgfence: %w", err)
	}
	var all strings.Builder
	free := ""
	for _, name := range f.names() {
		can, there := logsIn[name]
		if !there {
			return fmt.Errorf("pgfence: Roles: there is no role %s, or it is a superuser", name)
		}
		if !can {
			free = name
		}
		all.WriteString(closeRole(name) + comment(name, "trial"))
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("pgfence: %w", err)
	}
	if _, err = tx.Exec(ctx, all.String()); err != nil {
		err = fmt.Errorf("pgfence: the role %s must have CREATEROLE, and from PostgreSQL 16 on ADMIN OPTION on the roles of Roles: %w", conn.Config().User, err)
	}
	if err = errors.Join(err, tx.Rollback(ctx)); err != nil || free == "" {
		return err
	}
	return f.demandsPassword(ctx, free)
}
