package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

func TestAFaultyConfigNamesAllItsFaults(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Capacity":          {Capacity: -7},
		"MinIdle":           {Capacity: 2, MinIdle: 3},
		"MaxLifetime":       {MaxLifetime: -5},
		"IdleTimeout":       {IdleTimeout: 30}, // the unit is missing
		"StatementCache":    {StatementCache: -2},
		"CloseTimeout":      {CloseTimeout: -time.Second},
		"MaxLifetimeJitter": {MaxLifetime: Never, MaxLifetimeJitter: time.Minute},
	} {
		_, _, err := OpenDB(&server{}, cfg)
		var fault *messages.ConfigError
		require.ErrorAs(t, err, &fault, want)
		assert.Equal(t, want, fault.Field)
	}
	_, _, err := OpenDB(nil, Config{Capacity: -1 - 1, CloseTimeout: 5, StatementCache: -9})
	var faults messages.ConfigErrors
	require.ErrorAs(t, err, &faults)
	var fields []string
	for _, fault := range faults {
		fields = append(fields, fault.Field)
	}
	assert.Equal(t, []string{"connector", "StatementCache", "CloseTimeout", "Capacity"}, fields)
	assert.Contains(t, err.Error(), "-9")

	wrapped := Wrap(nil, Config{})
	_, err = wrapped.Connect(bg)
	require.ErrorAs(t, err, &faults)
	assert.Nil(t, wrapped.Driver())
	db := sql.OpenDB(Wrap(&server{}, Config{Capacity: -7}))
	require.ErrorContains(t, db.Ping(), "Capacity")
	_, err = Stats(db)
	require.ErrorContains(t, err, "Capacity")
	require.NoError(t, db.Close())
}

// A field of client.Config either exists here or has a reason not to.
func TestEveryFieldOfThePoolIsThoughtOf(t *testing.T) {
	absent := map[string]string{
		"Connect":           "the connector's",
		"Disconnect":        "the connection's Close",
		"Check":             "Ping",
		"Reusable":          "IsValid",
		"ResetWipesSetting": "database/sql cannot ask for a setting",
		"Apply":             "database/sql cannot ask for a setting",
		"Unapply":           "database/sql cannot ask for a setting",
		"Seed":              "for simulations",
		"PauseOnClear":      "database/sql would fail all callers until Resume",
	}
	ours, pools := reflect.TypeFor[Config](), reflect.TypeFor[client.Config[driver.Conn]]()
	for i := range pools.NumField() {
		field := pools.Field(i)
		here, ok := ours.FieldByName(field.Name)
		assert.NotEqual(t, absent[field.Name] != "", ok, field.Name)
		if !ok || field.Name == "Broken" || field.Name == "Reset" {
			continue
		}
		assert.Equal(t, field.Type, here.Type, field.Name)
		// What is set here arrives there.
		var cfg Config
		value := reflect.ValueOf(&cfg).Elem().FieldByName(field.Name)
		switch value.Kind() {
		case reflect.Int, reflect.Int64:
			value.SetInt(17)
		case reflect.Bool:
			value.SetBool(true)
		case reflect.String:
			value.SetString("a name")
		case reflect.Func:
			value.Set(reflect.MakeFunc(value.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		case reflect.Pointer:
			value.Set(reflect.New(value.Type().Elem()))
		case reflect.Struct:
			value.Field(slices.IndexFunc(reflect.VisibleFields(value.Type()), func(f reflect.StructField) bool {
				return f.Type == reflect.TypeFor[time.Duration]()
			})).SetInt(17)
		default:
			t.Fatal(field.Name)
		}
		got := reflect.ValueOf(cfg.pool(&core{})).FieldByName(field.Name)
		if value.Kind() == reflect.Func {
			assert.False(t, got.IsNil(), field.Name)
		} else {
			assert.Equal(t, value.Interface(), got.Interface(), field.Name)
		}
	}
}

func TestTheDefaultsAreThoseOfDatabases(t *testing.T) {
	pool := Config{}.pool(&core{})
	assert.Equal(t, time.Hour, pool.MaxLifetime)
	assert.Equal(t, 30*time.Minute, pool.IdleTimeout)
	pool = Config{MaxLifetime: Never, IdleTimeout: Never}.pool(&core{})
	assert.Zero(t, pool.MaxLifetime+pool.IdleTimeout)
}

func TestStatsWarnsOfSettingsThatWorkAgainstThePool(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{traits: execAndQuery}
		db, _ := open(t, s, quiet(3))
		stats, err := Stats(db)
		require.NoError(t, err)
		assert.Empty(t, stats.Warnings)
		assert.Equal(t, 3, stats.Pool.Capacity)
		assert.Zero(t, stats.Pool.Gets, "to ask borrows nothing")
		opened, _ := s.counts()
		assert.Zero(t, opened)

		db.SetMaxOpenConns(2)
		require.NoError(t, db.Ping())
		stats, err = Stats(db)
		require.NoError(t, err)
		require.Len(t, stats.Warnings, 1)
		assert.Contains(t, stats.Warnings[0], "SetMaxOpenConns(2)")
		assert.Equal(t, 1, stats.Pool.Idle)

		db.SetMaxOpenConns(1)
		rows, err := db.Query("SELECT")
		require.NoError(t, err)
		stats, err = Stats(db)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Len(t, stats.Warnings, 1)
		require.NoError(t, rows.Close())
	})
	virtually(t, func(t *testing.T) {
		db := sql.OpenDB(&server{})
		_, err := Stats(db)
		require.ErrorIs(t, err, ErrNotPooled)
		require.NoError(t, db.Close())
		_, err = Stats(db)
		require.Error(t, err)
		_, err = Stats(nil)
		require.Error(t, err)
	})
}

func TestRawGivesTheConnectionOfTheDriver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		db, pool := open(t, s, quiet(1))
		c, err := db.Conn(bg)
		require.NoError(t, err)
		require.NoError(t, c.Raw(func(got any) error {
			assert.NotNil(t, got.(interface{ self() *handle }), "without Raw it is ours")
			return nil
		}))
		require.NoError(t, Raw(c, func(got any) error {
			assert.IsType(t, &fakeConn{}, got)
			return nil
		}))
		require.ErrorIs(t, Raw(c, func(any) error { return errApplication }), errApplication)
		require.NoError(t, c.Close())
		assert.Equal(t, 1, pool.Stats().Idle)

		for _, f := range []func(any) error{
			func(any) error { return driver.ErrBadConn },
			func(any) error { panic("the driver") },
		} {
			c, err = db.Conn(bg)
			require.NoError(t, err)
			func() {
				defer func() { _ = recover() }()
				require.ErrorIs(t, Raw(c, f), driver.ErrBadConn)
			}()
			synctest.Wait()
			assert.Zero(t, pool.Stats().Open, "it was closed")
			require.ErrorIs(t, Raw(c, f), sql.ErrConnDone)
		}
		require.Error(t, Raw(nil, func(any) error { return nil }))
		require.Error(t, Raw(c, nil))
	})
	virtually(t, func(t *testing.T) {
		db := sql.OpenDB(&server{})
		c, err := db.Conn(bg)
		require.NoError(t, err)
		require.NoError(t, Raw(c, func(got any) error { assert.IsType(t, &fakeConn{}, got); return nil }))
		require.NoError(t, c.Close())
		c, err = Conn(bg, db)
		require.NoError(t, err)
		require.NoError(t, errors.Join(c.Close(), db.Close()))
		_, err = Conn(bg, db)
		require.Error(t, err)
		_, err = Conn(bg, nil)
		require.Error(t, err)
	})
}

func init() {
	sql.Register("sqlpool-old", &old{})
	sql.Register("sqlpool-new", &modern{})
}

// old is a driver without connectors, modern one with them.
type old struct{ server }

func (d *old) Open(name string) (driver.Conn, error) {
	if name != "there" {
		return nil, errTest
	}
	return d.Connect(bg)
}

type modern struct{ old }

func (d *modern) OpenConnector(name string) (driver.Connector, error) {
	if name != "there" {
		return nil, errTest
	}
	return &d.server, nil
}

func TestOpenTakesARegisteredDriver(t *testing.T) {
	virtually(t, func(t *testing.T) {
		for _, name := range []string{"sqlpool-old", "sqlpool-new"} {
			db, pool, err := Open(name, "there", quiet(1))
			require.NoError(t, err)
			require.NoError(t, db.Ping())
			assert.Equal(t, 1, pool.Stats().Idle)
			require.NoError(t, db.Close())
		}
		_, _, err := Open("sqlpool-new", "elsewhere", quiet(1))
		require.ErrorIs(t, err, errTest)
		db, _, err := Open("sqlpool-old", "elsewhere", quiet(1))
		require.NoError(t, err)
		require.ErrorIs(t, db.Ping(), errTest)
		require.NoError(t, db.Close())
		_, _, err = Open("no such driver", "there", quiet(1))
		require.ErrorContains(t, err, "no such driver")
	})
}

func TestAWrappedConnectorHasThePool(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := &server{}
		c := Wrap(s, quiet(1))
		assert.Same(t, s, c.Driver())
		db := sql.OpenDB(c)
		require.NoError(t, db.Ping())
		assert.Equal(t, 1, c.(interface {
			Pool() *client.Pool[driver.Conn]
		}).Pool().Stats().Idle)
		require.NoError(t, db.Close())
	})
}

// A newer Go may know more optional interfaces. Then this package must be taught them.
func TestEveryInterfaceOfTheDriverPackageIsKnown(t *testing.T) {
	known := strings.Fields(`Driver DriverContext Connector Pinger Execer ExecerContext Queryer QueryerContext Conn
		ConnPrepareContext ConnBeginTx SessionResetter Validator Result Stmt StmtExecContext StmtQueryContext
		NamedValueChecker ColumnConverter Rows RowsNextResultSet RowsColumnTypeScanType RowsColumnTypeDatabaseTypeName
		RowsColumnTypeLength RowsColumnTypeNullable RowsColumnTypePrecisionScale Tx ValueConverter Valuer`)
	paths, err := filepath.Glob(filepath.Join(runtime.GOROOT(), "src/database/sql/driver/*.go")) //nolint:staticcheck // for a test
	require.NoError(t, err)
	if len(paths) == 0 {
		t.Skip("the source of Go's library is not here")
	}
	found := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				if _, ok := spec.Type.(*ast.InterfaceType); ok {
					found++
					assert.Contains(t, known, spec.Name.Name)
				}
			}
			return true
		})
	}
	assert.GreaterOrEqual(t, found, len(known))
}

func TestALabelSaysWhatAConnectionIsFor(t *testing.T) {
	virtually(t, func(t *testing.T) {
		db, pool := open(t, &server{traits: execAndQuery}, quiet(1))
		holds := WithLabel(bg, "nightly import")
		tx, err := db.BeginTx(holds, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(WithLabel(bg, "is in a transaction already"), "INSERT")
		require.NoError(t, err)

		waiting := make(chan error, 1)
		go func() { waiting <- db.PingContext(WithLabel(deadline(t, time.Second), "report")) }()
		synctest.Wait()
		explained, err := pool.Explain(bg)
		require.NoError(t, err)
		require.Len(t, explained.Holders, 1)
		assert.Equal(t, "nightly import", explained.Holders[0].Label)
		require.Len(t, explained.Waiters, 1)
		assert.Equal(t, "report", explained.Waiters[0].Label)
		var failed *messages.GetError
		require.ErrorAs(t, <-waiting, &failed)
		assert.Contains(t, failed.Error(), "nightly import")
		require.NoError(t, tx.Rollback())

		for ctx, want := range map[context.Context]string{
			bg:                            "",
			WithLabel(holds, "the inner"): "the inner",
			WithLabel(holds, ""):          "",
		} {
			c, err := db.Conn(ctx)
			require.NoError(t, err)
			explained, err := pool.Explain(bg)
			require.NoError(t, err)
			assert.Equal(t, want, explained.Holders[0].Label)
			require.NoError(t, c.Close())
		}
	})
}
