// Package etcdstore keeps the ledger of a fleet in etcd.
//
// Under the prefix "actorpool/fleet/KEY/" stand the key "sum", a key "q/INCARNATION" for
// each row, and a key "m/INCARNATION" for each report, which is attached to the lease of
// its member. The values are JSON. Nothing else may write there.
package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/actorpool/actorpool/fleet/store"
)

// Store is a store.Store in etcd.
type Store struct{ client *clientv3.Client }

// New makes a store of an etcd client, which stays the caller's.
func New(client *clientv3.Client) *Store { return &Store{client} }

// ledger is the keys of one ledger.
type ledger string

func ledgerOf(key string) ledger { return ledger("actorpool/fleet/" + key + "/") }

func (l ledger) sum() string                      { return string(l) + "sum" }
func (l ledger) row(incarnation string) string    { return string(l) + "q/" + incarnation }
func (l ledger) report(incarnation string) string { return string(l) + "m/" + incarnation }

// value is the JSON of a part of the ledger.
func value(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // they are numbers
	}
	return string(data)
}

// What a human does about a part of the ledger that is wrong.
const (
	restoreSum = "restore it, or delete the ledger when all members have ended"
	restoreRow = "restore it, or delete it when its member has ended"
)

// read reads a part of the ledger. What cannot be read is an error that names the key.
func read(key string, data []byte, into any, whatToDo string) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("etcdstore: the value of %q cannot be read: %w; %s", key, err, whatToDo)
	}
	return nil
}

func readSum(key string, data []byte, revision int64) (sum store.Sum, err error) {
	err = read(key, data, &sum, restoreSum)
	sum.Revision = revision
	return sum, err
}

func readRow(key string, data []byte, revision int64) (row store.Row, err error) {
	if err = read(key, data, &row, restoreRow); err == nil && (row.Target < 0 || row.Target > row.Charge) {
		err = fmt.Errorf("etcdstore: the row %q has target %d and charge %d; %s", key, row.Target, row.Charge, restoreRow)
	}
	row.Seq = revision
	return row, err
}

// Open implements store.Store.
func (s *Store) Open(ctx context.Context, key string, budget int) (store.Sum, error) {
	sum := ledgerOf(key).sum()
	answer, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(sum), "=", 0)).
		Then(clientv3.OpPut(sum, value(store.Sum{Budget: budget}))).
		Else(clientv3.OpGet(sum)).Commit()
	if err != nil {
		return store.Sum{}, err
	}
	if answer.Succeeded {
		return store.Sum{Budget: budget, Revision: answer.Header.Revision}, nil
	}
	kv := answer.Responses[0].GetResponseRange().Kvs[0]
	return readSum(sum, kv.Value, kv.ModRevision)
}

// sum reads the sum.
func (s *Store) sum(ctx context.Context, l ledger) (store.Sum, error) {
	answer, err := s.client.Get(ctx, l.sum())
	if err != nil {
		return store.Sum{}, err
	}
	if len(answer.Kvs) == 0 {
		return store.Sum{}, fmt.Errorf("etcdstore: there is no %q: the ledger has not been opened, or somebody has deleted it", l.sum())
	}
	return readSum(l.sum(), answer.Kvs[0].Value, answer.Kvs[0].ModRevision)
}

// SetBudget implements store.Store.
func (s *Store) SetBudget(ctx context.Context, key string, budget int) error {
	return s.change(ctx, ledgerOf(key), func(sum *store.Sum) { sum.Budget = budget })
}

// change writes the sum with a change of it and of the ledger, again and again until
// nobody has written it in between.
func (s *Store) change(ctx context.Context, l ledger, change func(*store.Sum), with ...clientv3.Op) error {
	for {
		sum, err := s.sum(ctx, l)
		if err != nil {
			return err
		}
		base := sum
		change(&sum)
		if err := s.write(ctx, l, base, sum, with...); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// write writes the sum, and what comes with it, if the sum is still base.
func (s *Store) write(ctx context.Context, l ledger, base, sum store.Sum, with ...clientv3.Op) error {
	answer, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(l.sum()), "=", base.Revision)).
		Then(append(with, clientv3.OpPut(l.sum(), value(sum)))...).Commit()
	if err == nil && !answer.Succeeded {
		return store.ErrConflict
	}
	return err
}

// Snapshot implements store.Store. It is one read, of one revision.
func (s *Store) Snapshot(ctx context.Context, key string) (store.Snapshot, error) {
	l := ledgerOf(key)
	answer, err := s.client.Get(ctx, string(l), clientv3.WithPrefix())
	if err != nil {
		return store.Snapshot{}, err
	}
	v := store.Snapshot{Rows: make(map[string]store.Row), Reports: make(map[string]store.Report)}
	for _, kv := range answer.Kvs {
		name := strings.TrimPrefix(string(kv.Key), string(l))
		kind, incarnation, _ := strings.Cut(name, "/")
		switch {
		case name == "sum":
			v.Sum, err = readSum(string(kv.Key), kv.Value, kv.ModRevision)
		case kind == "q":
			v.Rows[incarnation], err = readRow(string(kv.Key), kv.Value, kv.ModRevision)
		case kind == "m":
			var report store.Report
			err = read(string(kv.Key), kv.Value, &report, restoreRow)
			v.Reports[incarnation] = report
		default:
			err = fmt.Errorf("etcdstore: the key %q is no part of a ledger: delete it", kv.Key)
		}
		if err != nil {
			return store.Snapshot{}, err
		}
	}
	if v.Sum.Revision == 0 {
		return v, fmt.Errorf("etcdstore: there is no %q: the ledger has not been opened, or somebody has deleted it", l.sum())
	}
	return v, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, key string, base, sum store.Sum, changes []store.Change) error {
	if len(changes) > store.MaxChanges {
		return fmt.Errorf("etcdstore: %d changes in a commit, more than %d", len(changes), store.MaxChanges)
	}
	l := ledgerOf(key)
	ops := make([]clientv3.Op, 0, len(changes)+1)
	for _, c := range changes {
		if c.Delete {
			ops = append(ops, clientv3.OpDelete(l.row(c.Incarnation)))
		} else {
			ops = append(ops, clientv3.OpPut(l.row(c.Incarnation), value(c.Row)))
		}
	}
	return s.write(ctx, l, base, sum, ops...)
}

// Join implements store.Store. etcd counts leases in whole seconds, and gives none that is
// shorter than its election timeout: a ttl that it cannot keep is an error.
func (s *Store) Join(ctx context.Context, key, incarnation string, ttl time.Duration) (store.Membership, error) {
	seconds := int64(math.Ceil(ttl.Seconds()))
	lease, err := s.client.Grant(ctx, seconds)
	if err != nil {
		return nil, err
	}
	if lease.TTL != seconds {
		_, _ = s.client.Revoke(ctx, lease.ID)
		return nil, fmt.Errorf("etcdstore: a TTL of %v is less than etcd keeps, which is %ds: raise TTL, or lower etcd's election-timeout", ttl, lease.TTL)
	}
	m := &membership{client: s.client, store: s, ledger: ledgerOf(key), incarnation: incarnation, lease: lease.ID}
	answer, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(m.report()), "=", 0)).
		Then(clientv3.OpPut(m.report(), value(store.Report{}), clientv3.WithLease(lease.ID))).Commit()
	if err == nil && !answer.Succeeded {
		err = fmt.Errorf("etcdstore: incarnation %q has joined already", incarnation)
	}
	if err != nil {
		_, _ = s.client.Revoke(ctx, lease.ID)
		return nil, err
	}
	return m, nil
}

// membership is the lease of one incarnation.
type membership struct {
	client      *clientv3.Client
	store       *Store
	ledger      ledger
	incarnation string
	lease       clientv3.LeaseID
}

func (m *membership) report() string { return m.ledger.report(m.incarnation) }
func (m *membership) row() string    { return m.ledger.row(m.incarnation) }

// lost says that an error means the end of the lease.
func lost(err error) error {
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return store.ErrLost
	}
	return err
}

// Renew implements store.Membership. It renews the lease once: the client's own KeepAlive
// would not say when a renewal that was confirmed had been sent.
func (m *membership) Renew(ctx context.Context, report store.Report) (row store.Row, ok bool, err error) {
	if _, err := m.client.KeepAliveOnce(ctx, m.lease); err != nil {
		return store.Row{}, false, lost(err)
	}
	answer, err := m.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(m.report()), ">", 0)).
		Then(clientv3.OpPut(m.report(), value(report), clientv3.WithLease(m.lease)), clientv3.OpGet(m.row())).Commit()
	if err != nil {
		return store.Row{}, false, lost(err)
	}
	if !answer.Succeeded {
		return store.Row{}, false, store.ErrLost
	}
	for _, kv := range answer.Responses[1].GetResponseRange().Kvs {
		row, err = readRow(string(kv.Key), kv.Value, kv.ModRevision)
		return row, err == nil, err
	}
	return store.Row{}, false, nil
}

// Watch implements store.Membership.
func (m *membership) Watch(ctx context.Context) <-chan store.Row {
	rows := make(chan store.Row, 1)
	changes := m.client.Watch(clientv3.WithRequireLeader(ctx), m.row(), clientv3.WithFilterDelete())
	go func() {
		defer close(rows)
		for answer := range changes {
			for _, e := range answer.Events {
				row, err := readRow(string(e.Kv.Key), e.Kv.Value, e.Kv.ModRevision)
				if err != nil {
					continue // the next renewal reads it, and says so
				}
				select {
				case rows <- row:
				case <-ctx.Done():
				}
			}
		}
	}()
	return rows
}

// Leave implements store.Membership.
func (m *membership) Leave(ctx context.Context) error {
	err := m.store.change(ctx, m.ledger, func(*store.Sum) {}, clientv3.OpDelete(m.row()), clientv3.OpDelete(m.report()))
	if err != nil {
		return err
	}
	if _, err = m.client.Revoke(ctx, m.lease); errors.Is(lost(err), store.ErrLost) {
		return nil
	}
	return err
}
