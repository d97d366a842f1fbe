package pgxpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/actorpool/actorpool/client"
)

const (
	// pgxConnectTimeout is the ConnectTimeout in pgx's pool where the Config has none.
	pgxConnectTimeout = 2 * time.Minute
	// disconnectTimeout bounds the end of a connection, as in pgx's pool.
	disconnectTimeout = 15 * time.Second
	// farewell is how long the end of a connection waits until the server has closed it.
	farewell = time.Second
)

// state is what the pool keeps for a connection. It belongs to whoever has the
// connection, except for what is atomic.
type state struct {
	pool       *Pool
	conn       *pgx.Conn
	wire       *wire
	generation uint64
	idleSince  time.Duration // when it was opened or last released, by the pool's clock
	standing   bool          // it is connected: AfterConnect has returned
	hijacked   bool
	unused     bool            // it is returned without having been used
	vetted     bool            // Release has just looked whether it can be used again
	lost       bool            // it did not answer: its end waits for nothing
	condemned  error           // the server has said that this connection has no future
	readOnly   *pgconn.PgError // the server has refused to write
}

// stateKey is the key of the state in the CustomData of a connection.
const stateKey = "actorpool"

func stateOf(conn *pgx.Conn) *state {
	s, _ := conn.PgConn().CustomData()[stateKey].(*state)
	return s
}

// connect opens a connection, with the hooks of pgx's pool.
func (p *Pool) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg := p.cfg.ConnConfig.Copy()
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = pgxConnectTimeout
	}
	hookInfo, _ := client.HookInfo(ctx)
	ctx = startValues{ctx, p.start}
	if p.cfg.BeforeConnect != nil {
		if err := p.cfg.BeforeConnect(ctx, cfg); err != nil {
			return nil, err
		}
	}
	s := &state{pool: p, generation: hookInfo.Generation}
	if dial := cfg.DialFunc; dial != nil {
		cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil || conn == nil || s.conn != nil { // a later one carries a cancel request
				return conn, err
			}
			s.wire = &wire{Conn: conn} // of several addresses, the last one is used
			return s.wire, nil
		}
	}
	onPgError := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, e *pgconn.PgError) bool {
		s.hear(conn, e)
		return onPgError == nil || onPgError(conn, e)
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	if p.cfg.AfterConnect != nil {
		standing := false
		defer func() {
			if !standing { // it failed, panicked or ended its goroutine
				_ = s.close(ctx)
			}
		}()
		if err := p.cfg.AfterConnect(ctx, conn); err != nil {
			return nil, err
		}
		standing = true
	}
	conn.PgConn().CustomData()[stateKey] = s
	s.idleSince = p.now()
	s.standing = true
	return conn, nil
}

// disconnect closes a connection, and waits until the server has closed it, too, so that
// the next connection does not exceed the server's limit.
func (p *Pool) disconnect(ctx context.Context, conn *pgx.Conn) error {
	if p.cfg.BeforeClose != nil {
		p.cfg.BeforeClose(conn)
	}
	s := stateOf(conn)
	if s == nil { // a hook has removed it
		return conn.Close(ctx)
	}
	return s.close(ctx)
}

// close ends a connection. pgx may be closing it in the background already, because a
// context has ended during a query; then close waits for that, too.
func (s *state) close(ctx context.Context) error {
	if s.lost { // there is nobody to wait for; pgx gives up after 15s
		return s.conn.Close(ctx)
	}
	if s.wire != nil {
		s.wire.waits.Store(true)
	}
	err := s.conn.Close(ctx)
	bound := time.NewTimer(farewell)
	defer bound.Stop()
	select {
	case <-s.conn.PgConn().CleanupDone():
	case <-ctx.Done():
	case <-bound.C:
	}
	return err
}

// check looks whether an idle connection is alive, after another one was found dead.
func (p *Pool) check(ctx context.Context, conn *pgx.Conn) error {
	bound := p.cfg.PingTimeout
	if bound <= 0 {
		bound = backgroundPing
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	err := conn.Ping(ctx)
	if s := stateOf(conn); err != nil && s != nil {
		s.lost = true
	}
	return err
}

// backgroundPing bounds a ping in the background where there is no PingTimeout.
const backgroundPing = 5 * time.Second

// reusable says whether a connection that is returned can be lent again. It is asked on
// the goroutine that returns it.
func (p *Pool) reusable(conn *pgx.Conn) bool {
	s := stateOf(conn)
	if s != nil && s.vetted {
		s.vetted = false
	} else if s != nil && s.heard() != nil || unusable(conn) != nil {
		return false
	}
	if s != nil && s.unused {
		s.unused = false
		return true
	}
	return p.cfg.AfterRelease == nil || p.cfg.AfterRelease(conn) && unusable(conn) == nil
}

// The causes with which a connection is closed that is returned unfit for use.
var (
	errConnClosed = errors.New("pgxpool: the connection was returned closed")
	errConnBusy   = errors.New("pgxpool: the connection was returned while a query was running on it")
	errConnInTx   = errors.New("pgxpool: the connection was returned inside a transaction")
)

func unusable(conn *pgx.Conn) error {
	switch {
	case conn.IsClosed():
		return errConnClosed
	case conn.PgConn().IsBusy():
		return errConnBusy
	case conn.PgConn().TxStatus() != 'I':
		return errConnInTx
	}
	return nil
}

// verdict says why a connection that is returned must be closed; nil: it need not.
func (s *state) verdict() error {
	if err := s.heard(); err != nil {
		return err
	}
	err := unusable(s.conn)
	if err == errConnClosed && s.wire != nil { //nolint:errorlint // it is this very error
		if lost := s.wire.lost.Load(); lost != nil {
			return fmt.Errorf("%w: %w", err, *lost)
		}
	}
	return err
}

// hear looks at each error of the server. Some mean that the server of this connection
// is going away, or is no primary any more: then no connection to it should be lent.
func (s *state) hear(_ *pgconn.PgConn, e *pgconn.PgError) {
	switch e.Code {
	case "57P01", "57P02": // admin_shutdown, crash_shutdown
		s.condemn(e)
	case "25006": // read_only_sql_transaction
		s.readOnly = e
	}
}

func (s *state) condemn(why error) {
	if s.condemned == nil {
		s.condemned = why
	}
	if s.standing && !s.hijacked {
		s.pool.clearGeneration(s.generation)
	}
}

// heard says why a connection that is returned has no future; nil: it has one.
//
// A refused write counts if the session cannot write. It may also be due to a transaction
// that the program itself has begun as READ ONLY. The server tells the state of the session
// after the error, at the end of the query. Servers before PostgreSQL 14 do not tell it;
// there each refused write counts.
func (s *state) heard() error {
	if e := s.readOnly; e != nil {
		s.readOnly = nil
		conn := s.conn.PgConn()
		if conn.ParameterStatus("in_hot_standby") != "off" || conn.ParameterStatus("default_transaction_read_only") != "off" {
			s.condemn(e)
		}
	}
	return s.condemned
}

// clearGeneration closes the connections of a generation, once, however many of them hear
// of the same failover.
func (p *Pool) clearGeneration(generation uint64) {
	if next := p.generation.Load(); next <= generation && p.generation.CompareAndSwap(next, generation+1) {
		_ = p.pool.Clear(context.Background(), client.ClearOptions{})
	}
}

// wire is the network connection below a connection of pgx.
type wire struct {
	net.Conn
	waits  atomic.Bool           // Close waits for the server
	closed atomic.Bool           // Close has begun
	lost   atomic.Pointer[error] // the first error that shows that the network or the server is gone
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.note(err)
	}
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	if err != nil {
		w.note(err)
	}
	return n, err
}

// note keeps an error of the network. A timeout is not one: pgx sets deadlines to end
// what a context has cancelled.
func (w *wire) note(err error) {
	var timeout net.Error
	if errors.Is(err, net.ErrClosed) || errors.As(err, &timeout) && timeout.Timeout() || w.closed.Load() {
		return
	}
	w.lost.CompareAndSwap(nil, &err)
}

// Close implements net.Conn. pgx sends Terminate before it; the server then ends its
// process, which may take longer than the way of the message. So the pool's own Close
// waits until the server has closed the connection.
func (w *wire) Close() error {
	if w.closed.CompareAndSwap(false, true) && w.waits.Load() {
		if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		if w.SetReadDeadline(time.Now().Add(farewell)) == nil {
			_, _ = io.Copy(io.Discard, w.Conn)
		}
	}
	return w.Conn.Close()
}
