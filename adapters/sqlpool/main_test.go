package sqlpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// virtually runs a test in virtual time.
func virtually(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// The actor library counts dead letters on a goroutine that lives for a moment.
		t.Cleanup(func() { time.Sleep(time.Millisecond) })
		f(t)
	})
}

// open makes a *sql.DB over a server. At the end it is closed, and so must be every
// connection.
func open(t *testing.T, s *server, cfg Config) (*sql.DB, *client.Pool[driver.Conn]) {
	t.Helper()
	db, pool, err := OpenDB(s, cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, db.Close())
		opened, closed := s.counts()
		assert.Equal(t, opened, closed, "connections closed")
		<-pool.Done()
	})
	return db, pool
}

// quiet is a Config without checks and periods: what the driver is asked for is what
// database/sql asks for.
func quiet(capacity int) Config {
	return Config{Capacity: capacity, CheckAfterIdle: -1, MaxLifetime: Never, IdleTimeout: Never}
}

// failing is a hook that fails an operation, n times.
func failing(op string, n int, err error) func(*fakeConn, string) error {
	return func(_ *fakeConn, did string) error {
		if did == op && n > 0 {
			n--
			return err
		}
		return nil
	}
}

var errTest = errors.New("a test's error")

// deadline is a context that ends after d of virtual time.
func deadline(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(bg, d)
	t.Cleanup(cancel)
	return ctx
}
