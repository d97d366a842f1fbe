package client_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// sqlState is an error of a PostgreSQL driver.
type sqlState string

func (s sqlState) Error() string    { return "SQLSTATE " + string(s) }
func (s sqlState) SQLState() string { return string(s) }

// likeEOF is an error that says by its Is method that it is io.EOF.
type likeEOF struct{ _ []int }

func (likeEOF) Error() string        { return "the end" }
func (likeEOF) Is(target error) bool { return target == io.EOF }

// actsAsState is an error that can be taken for that of a PostgreSQL driver.
type actsAsState struct{}

func (actsAsState) Error() string { return "translated" }
func (actsAsState) As(target any) bool {
	s, ok := target.(*interface{ SQLState() string })
	if ok {
		*s = sqlState("57P01")
	}
	return ok
}

// P7
func TestBrokenFindsWhatCondemnsWhereverItIs(t *testing.T) {
	aboutAnother := &messages.GetError{Pool: "other", Err: context.DeadlineExceeded, LastConnectError: io.EOF}
	condemning := []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE, driver.ErrBadConn,
		context.Canceled, context.DeadlineExceeded, &net.OpError{Op: "read", Err: errors.New("no route")}, likeEOF{}, actsAsState{},
		sqlState("08006"), sqlState("57P01"), sqlState("57P05"), sqlState("25P03"), sqlState("25P04"), sqlState("25006"),
	}
	harmless := []error{testkit.ErrApp, sqlState("23505"), sqlState("25001"), sqlState("25P02"), sqlState("57014"), aboutAnother, uncomparable{[]int{1}}}
	for _, err := range condemning {
		for _, err := range []error{
			err, fmt.Errorf("query: %w", err), errors.Join(testkit.ErrApp, err), errors.Join(sqlState("23505"), err),
			errors.Join(err, aboutAnother), fmt.Errorf("%w, then %w", aboutAnother, fmt.Errorf("%w: %w", testkit.ErrApp, err)),
			errors.Join(uncomparable{[]int{1}}, err),
		} {
			assert.True(t, client.Broken(err), "%v", err)
		}
	}
	for _, err := range harmless {
		for _, err := range []error{err, fmt.Errorf("query: %w", err), errors.Join(harmless...)} {
			assert.False(t, client.Broken(err), "%v", err)
		}
	}
	assert.False(t, client.Broken(nil))
}

// P7
func TestAfterAFailoverTheConnectionsToTheOldPrimaryAreClosed(t *testing.T) {
	testkit.Run(t, func(t *testing.T, w *testkit.World) {
		p := w.Pool(testkit.Capacity(3))
		testkit.Fill(t, p, 3)
		write := func() error {
			return p.Do(ctx, func(_ context.Context, c *testkit.Conn) error {
				if c.N <= 3 {
					return fmt.Errorf("insert: %w", sqlState("25006"))
				}
				return nil
			})
		}
		for range 3 {
			assert.Error(t, write())
		}
		assert.NoError(t, write())
		assert.EqualValues(t, 3, p.Stats().Taints)
	})
}
