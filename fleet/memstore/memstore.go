// Package memstore keeps the ledger of a fleet in memory: for tests, and for pools that
// share a budget within one process.
package memstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/actorpool/actorpool/fleet/store"
)

// Store is a store in memory. One goroutine owns the ledgers; an operation is a function
// that it runs.
type Store struct {
	operations chan func(*state)
	closed     chan struct{}
}

type state struct {
	ledgers  map[string]*ledger
	revision int64
}

type ledger struct {
	sum     store.Sum
	rows    map[string]store.Row
	members map[string]*member
}

// member is an incarnation whose lease lives.
type member struct {
	report  store.Report
	ends    *time.Timer
	watches []chan store.Row
}

// errClosed is the error of every operation after Close.
var errClosed = errors.New("memstore: the store is closed")

// New makes an empty store. Close ends its goroutine.
func New() *Store {
	s := &Store{operations: make(chan func(*state)), closed: make(chan struct{})}
	go s.run()
	return s
}

func (s *Store) run() {
	st := &state{ledgers: make(map[string]*ledger)}
	for {
		select {
		case f := <-s.operations:
			f(st)
		case <-s.closed:
			for _, l := range st.ledgers {
				for inc := range l.members {
					l.end(inc)
				}
			}
			return
		}
	}
}

// Close ends the store. Every operation after it fails. It must be called once.
func (s *Store) Close() { close(s.closed) }

// do runs an operation, and waits for it.
func (s *Store) do(ctx context.Context, f func(*state) error) error {
	if err := ctx.Err(); err != nil { // select would choose at random
		return err
	}
	done := make(chan error, 1)
	select {
	case s.operations <- func(st *state) { done <- f(st) }:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return errClosed
	}
}

// with is do for a ledger that is there.
func (s *Store) with(ctx context.Context, key string, f func(*state, *ledger) error) error {
	return s.do(ctx, func(st *state) error {
		l := st.ledgers[key]
		if l == nil {
			return fmt.Errorf("memstore: the ledger %q has not been opened", key)
		}
		return f(st, l)
	})
}

// write gives the revision of a write.
func (st *state) write() int64 {
	st.revision++
	return st.revision
}

// end ends the lease of an incarnation.
func (l *ledger) end(incarnation string) {
	m := l.members[incarnation]
	m.ends.Stop()
	for _, w := range m.watches {
		close(w)
	}
	delete(l.members, incarnation)
}

// tell sends a row to those that watch it. One that does not keep up misses rows.
func (l *ledger) tell(incarnation string, row store.Row) {
	if m := l.members[incarnation]; m != nil {
		for _, w := range m.watches {
			select {
			case w <- row:
			default:
			}
		}
	}
}

// Open implements store.Store.
func (s *Store) Open(ctx context.Context, key string, budget int) (sum store.Sum, err error) {
	err = s.do(ctx, func(st *state) error {
		l := st.ledgers[key]
		if l == nil {
			l = &ledger{rows: make(map[string]store.Row), members: make(map[string]*member)}
			l.sum = store.Sum{Budget: budget, Revision: st.write()}
			st.ledgers[key] = l
		}
		sum = l.sum
		return nil
	})
	return sum, err
}

// SetBudget implements store.Store.
func (s *Store) SetBudget(ctx context.Context, key string, budget int) error {
	return s.with(ctx, key, func(st *state, l *ledger) error {
		l.sum.Budget, l.sum.Revision = budget, st.write()
		return nil
	})
}

// Snapshot implements store.Store.
func (s *Store) Snapshot(ctx context.Context, key string) (v store.Snapshot, err error) {
	err = s.with(ctx, key, func(_ *state, l *ledger) error {
		v = store.Snapshot{Sum: l.sum, Rows: maps.Clone(l.rows), Reports: make(map[string]store.Report, len(l.members))}
		for inc, m := range l.members {
			v.Reports[inc] = m.report
		}
		return nil
	})
	return v, err
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, key string, base, sum store.Sum, changes []store.Change) error {
	if len(changes) > store.MaxChanges {
		return fmt.Errorf("memstore: %d changes in a commit, more than %d", len(changes), store.MaxChanges)
	}
	return s.with(ctx, key, func(st *state, l *ledger) error {
		if l.sum.Revision != base.Revision {
			return store.ErrConflict
		}
		sum.Revision = st.write()
		l.sum = sum
		for _, c := range changes {
			if c.Delete {
				delete(l.rows, c.Incarnation)
				continue
			}
			row := c.Row
			row.Seq = sum.Revision
			l.rows[c.Incarnation] = row
			l.tell(c.Incarnation, row)
		}
		return nil
	})
}

// Join implements store.Store.
func (s *Store) Join(ctx context.Context, key, incarnation string, ttl time.Duration) (store.Membership, error) {
	err := s.with(ctx, key, func(_ *state, l *ledger) error {
		if l.members[incarnation] != nil {
			return fmt.Errorf("memstore: incarnation %q has joined already", incarnation)
		}
		m := &member{}
		m.ends = time.AfterFunc(ttl, func() { s.expire(key, incarnation, m) })
		l.members[incarnation] = m
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &membership{s, key, incarnation, ttl}, nil
}

// expire ends a lease that was not renewed in time.
func (s *Store) expire(key, incarnation string, m *member) {
	_ = s.with(context.Background(), key, func(_ *state, l *ledger) error {
		if l.members[incarnation] == m {
			l.end(incarnation)
		}
		return nil
	})
}

// membership is the lease of one incarnation.
type membership struct {
	store            *Store
	key, incarnation string
	ttl              time.Duration
}

// member runs an operation for an incarnation whose lease lives.
func (m *membership) member(ctx context.Context, f func(*state, *ledger, *member) error) error {
	return m.store.with(ctx, m.key, func(st *state, l *ledger) error {
		mem := l.members[m.incarnation]
		if mem == nil {
			return store.ErrLost
		}
		return f(st, l, mem)
	})
}

// Renew implements store.Membership.
func (m *membership) Renew(ctx context.Context, report store.Report) (row store.Row, ok bool, err error) {
	err = m.member(ctx, func(_ *state, l *ledger, mem *member) error {
		if !mem.ends.Stop() {
			return store.ErrLost // it is over, and the message that says so is on its way
		}
		mem.ends.Reset(m.ttl)
		mem.report = report
		row, ok = l.rows[m.incarnation]
		return nil
	})
	return row, ok, err
}

// Watch implements store.Membership.
func (m *membership) Watch(ctx context.Context) <-chan store.Row {
	rows := make(chan store.Row, 1)
	err := m.member(ctx, func(_ *state, _ *ledger, mem *member) error {
		mem.watches = append(mem.watches, rows)
		return nil
	})
	if err != nil {
		close(rows)
		return rows
	}
	context.AfterFunc(ctx, func() {
		_ = m.member(context.Background(), func(_ *state, _ *ledger, mem *member) error {
			for i, w := range mem.watches {
				if w == rows {
					mem.watches = append(mem.watches[:i], mem.watches[i+1:]...)
					close(rows)
				}
			}
			return nil
		})
	})
	return rows
}

// Leave implements store.Membership.
func (m *membership) Leave(ctx context.Context) error {
	return m.store.with(ctx, m.key, func(st *state, l *ledger) error {
		if _, charged := l.rows[m.incarnation]; charged {
			delete(l.rows, m.incarnation)
			l.sum.Revision = st.write()
		}
		if l.members[m.incarnation] != nil {
			l.end(m.incarnation)
			l.sum.Revision = st.write()
		}
		return nil
	})
}
