package pgxpool

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// lending is what a context says about the connections that are acquired with it.
type lending struct {
	options client.GetOptions
	fault   error
}

type lendingKey struct{}

func lendingOf(ctx context.Context) lending {
	if l, ok := ctx.Value(lendingKey{}).(*lending); ok {
		return *l
	}
	return lending{}
}

// WithSetting returns a context with which every connection that is acquired from a [Pool]
// has a run-time parameter of PostgreSQL set to a value: role, search_path, or one of the
// program's own such as app.tenant. Several are nested:
//
//	ctx = pgxpool.WithSetting(ctx, "role", "tenant_a")
//	ctx = pgxpool.WithSetting(ctx, "search_path", "tenant_a, public")
//	rows, err := pool.Query(ctx, "SELECT ...")
//
// It applies to all methods that acquire a connection, and not to one that is acquired
// already. The pool lends a connection that has these values already, if one is idle; or
// else sets them on another one, with one query. A connection that is acquired without a
// setting has none: the pool removes what was set before, by RESET. What AfterConnect has
// set is lost by that: give such values in the connection string.
//
// The pool does not keep the user of the connection from SET ROLE or RESET ROLE.
//
// A name that is no name of a parameter is a *[messages.ConfigError] of Acquire. A value
// that the server refuses is its error, in a *[messages.GetError]; the connection is
// closed.
func WithSetting(ctx context.Context, name, value string) context.Context {
	l := lendingOf(ctx)
	switch {
	case !isParameter(name):
		l.fault = &messages.ConfigError{Field: "WithSetting", Reason: fmt.Sprintf("%q is no name of a parameter", name)}
	case strings.ContainsRune(value, 0):
		l.fault = &messages.ConfigError{Field: "WithSetting", Reason: fmt.Sprintf("the value of %s contains a zero byte: %q", name, value)}
	default:
		s, _ := l.options.Setting.(setting)
		l.options.Setting = s.with(strings.ToLower(name), value)
	}
	return context.WithValue(ctx, lendingKey{}, &l)
}

// WithLabel returns a context that says what a connection acquired with it is for, in
// errors, events and Explain: see client.GetOptions.
func WithLabel(ctx context.Context, label string) context.Context {
	l := lendingOf(ctx)
	l.options.Label = label
	return context.WithValue(ctx, lendingKey{}, &l)
}

// isParameter says whether a name can be that of a parameter: identifiers, joined by dots.
func isParameter(name string) bool {
	for _, part := range strings.Split(name, ".") {
		if part == "" {
			return false
		}
		for i, r := range part {
			switch {
			case r == '_', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
			case i > 0 && '0' <= r && r <= '9':
			default:
				return false
			}
		}
	}
	return true
}

// setting is a set of parameters as one text, so that two can be compared: name="value",
// sorted by name, but role last. Setting a role may take away the right to set another
// parameter.
type setting string

// parameter is one of a setting.
type parameter struct{ name, value string }

// role is the parameter that SET ROLE sets.
const role = "role"

func (s setting) parameters() []parameter {
	var all []parameter
	for rest := string(s); rest != ""; {
		name, quoted, _ := strings.Cut(rest, "=")
		prefix, err := strconv.QuotedPrefix(quoted)
		if err != nil {
			panic("pgxpool: a setting is not in its form: " + string(s))
		}
		value, _ := strconv.Unquote(prefix)
		all = append(all, parameter{name, value})
		rest = strings.TrimPrefix(quoted[len(prefix):], " ")
	}
	return all
}

func (s setting) with(name, value string) setting {
	all := slices.DeleteFunc(s.parameters(), func(p parameter) bool { return p.name == name })
	all = append(all, parameter{name, value})
	slices.SortFunc(all, func(a, b parameter) int {
		switch {
		case a.name == role:
			return 1
		case b.name == role:
			return -1
		}
		return strings.Compare(a.name, b.name)
	})
	var text []string
	for _, p := range all {
		text = append(text, p.name+"="+strconv.Quote(p.value))
	}
	return setting(strings.Join(text, " "))
}

// apply sets the parameters on a connection that has none.
func (p *Pool) apply(ctx context.Context, conn *pgx.Conn, wanted any) error {
	s, ok := wanted.(setting)
	if !ok {
		return &messages.ConfigError{Field: "Setting", Reason: fmt.Sprintf("a %T: it must come from WithSetting", wanted)}
	}
	var sql strings.Builder
	var values [][]byte
	for i, one := range s.parameters() {
		sql.WriteString([]string{"SELECT ", ", "}[min(i, 1)])
		fmt.Fprintf(&sql, "pg_catalog.set_config($%d, $%d, false)", 2*i+1, 2*i+2)
		values = append(values, []byte(one.name), []byte(one.value))
	}
	return conn.PgConn().ExecParams(ctx, sql.String(), values, nil, nil, nil).Read().Err
}

// unapply removes the parameters: the role first, which may not have the right to.
func (p *Pool) unapply(ctx context.Context, conn *pgx.Conn) error {
	info, _ := client.HookInfo(ctx)
	s, _ := info.Setting.(setting)
	var sql strings.Builder
	for _, one := range slices.Backward(s.parameters()) {
		sql.WriteString("RESET " + one.name + ";")
	}
	return conn.PgConn().Exec(ctx, sql.String()).Close()
}
