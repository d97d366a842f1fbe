package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
)

// SetConfig is the configuration of a Set. New and Total are required.
type SetConfig[K comparable, C any] struct {
	// New gives the configuration of the pool of a key: for instance with a Connect that
	// dials the key's server. It is called once for each pool, on a goroutine of its own,
	// when the first Get for the key comes, and again after that pool was closed. Nothing
	// of the Set waits for it but the Gets for that key.
	//
	// In the Config, GetTimeout is required, and MinIdle and MinOpen must be 0. Capacity is
	// the most connections that this key may have of Total; 0: Total. It must not be
	// NoCapacity. Name is by default the name of the Set, a slash, and the key as by %v. If
	// New panics, ends its goroutine or returns an invalid Config, the Gets that wait for
	// it fail with a *[messages.KeyError], and the next Get calls it again.
	New func(key K) Config[C]
	// Total is the largest number of connections, of all keys together: open, being opened
	// or being closed. A connection for which a function is given up counts until that
	// function returns. It must be positive.
	Total int
	// MaxPools is the largest number of pools. For one more key the least recently used
	// pool that is at rest is closed: one with idle connections only, and nobody waiting.
	// If there is none, the Get waits. 0: no bound.
	MaxPools int
	// Idle is the time after which a pool that is not used is closed; it may last up to a
	// quarter longer. 0: never. It must not be below 1ms.
	Idle time.Duration
	// Name is the name of the Set in errors and Stats. Default "set".
	Name string
}

// Set is a set of pools, one for each key, such as a tenant, a host or an account, that
// share one capacity. A pool is made when a Get asks for its key. Its methods may be called
// from many goroutines.
//
// There are never more than Total connections. A connection that is idle is closed if
// another key needs its place. If all are in use, the next one that is returned goes to a
// Get of its own key, or is closed to make place for another key: so that no key gets more
// than its max-min fair share while another that could use it has less, and within that in
// the order in which the Gets came. See docs/sets.md.
//
// After Close, Get and its like fail with messages.ErrClosed, and TryGet returns false.
type Set[K comparable, C any] struct {
	ref   *actors.SetRef
	index *index[K]
	check func(K) error
	name  string
	total int
}

// NewSet makes a set of pools, in an actor system of its own. It calls nothing and opens
// nothing. An invalid configuration is a [messages.ConfigErrors].
func NewSet[K comparable, C any](cfg SetConfig[K, C]) (*Set[K, C], error) {
	var faults messages.ConfigErrors
	refuse := func(wrong bool, field, reason string, args ...any) {
		if wrong {
			faults = append(faults, &messages.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
		}
	}
	refuse(cfg.New == nil, "New", "it is required")
	refuse(cfg.Total <= 0, "Total", "%d is not positive", cfg.Total)
	refuse(cfg.MaxPools < 0, "MaxPools", "%d is negative", cfg.MaxPools)
	refuse(cfg.Idle < 0, "Idle", "%v is negative", cfg.Idle)
	refuse(cfg.Idle > 0 && cfg.Idle < shortest, "Idle", "%v is below %v: is the unit missing?", cfg.Idle, shortest)
	if faults != nil {
		return nil, faults
	}
	s := &Set[K, C]{index: newIndex[K](), check: checkOf[K](), name: or(cfg.Name, "set"), total: cfg.Total}
	var err error
	s.ref, err = actors.StartSet(quietSystem(), actors.SetSpec{
		Name: s.name, Total: cfg.Total, MaxPools: cfg.MaxPools, Idle: cfg.Idle,
		Make: func(key any) (actors.Spec, error) {
			return memberSpec(cfg.New(keyOf[K](key)), cfg.Total, s.name, key)
		},
		Describe: func(key any) string { return fmt.Sprintf("%v", key) },
		Publish:  func(key any, m *actors.Member) { s.index.put(keyOf[K](key), m) },
		Withdraw: func(key any) { s.index.remove(keyOf[K](key)) },
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// keyOf gives a key its type back. A nil of an interface type has none.
func keyOf[K comparable](key any) K {
	k, _ := key.(K)
	return k
}

// memberSpec makes the configuration of a pool of a Set from that which New gave.
func memberSpec[C any](cfg Config[C], total int, set string, key any) (actors.Spec, error) {
	var faults messages.ConfigErrors
	refuse := func(wrong bool, field, reason string, args ...any) {
		if wrong {
			faults = append(faults, &messages.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)})
		}
	}
	refuse(cfg.MinIdle > 0, "MinIdle", "%d, and in a Set it must be 0", cfg.MinIdle)
	refuse(cfg.MinOpen > 0, "MinOpen", "%d, and in a Set it must be 0", cfg.MinOpen)
	refuse(cfg.GetTimeout == 0, "GetTimeout", "it is required in a Set, whose pools may wait for each other")
	refuse(cfg.Capacity == NoCapacity, "Capacity", "NoCapacity, and a Set gives its pools their capacity")
	if faults = append(faults, cfg.faults()...); faults != nil {
		return actors.Spec{}, faults
	}
	most := total
	if cfg.Capacity > 0 {
		most = min(cfg.Capacity, total)
	}
	cfg.Capacity = NoCapacity
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("%s/%v", set, key)
	}
	spec, err := cfg.Spec()
	spec.MostUnits = most
	return spec, err
}

// quietSystem makes an actor system that writes no log.
func quietSystem() *actor.ActorSystem {
	quiet := slog.New(slog.DiscardHandler) // Config.Logger is the pool's own log
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		// The library counts dead letters for its log, on a goroutine that lives for
		// this interval. Nobody reads that log, so the interval is the shortest.
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
}

// checkOf says what is wrong with a key of a type: that it cannot be found again. nil:
// nothing can be.
func checkOf[K comparable]() func(K) error {
	if plain(reflect.TypeFor[K]()) {
		return nil
	}
	return func(key K) error {
		switch equal, compares := equalsItself(key); {
		case !compares:
			return &messages.ConfigError{Field: "key", Reason: fmt.Sprintf("a %v cannot be compared with ==", reflect.TypeOf(key))}
		case !equal:
			return &messages.ConfigError{Field: "key", Reason: fmt.Sprintf("%v is not equal to itself", key)}
		}
		return nil
	}
}

// equalsItself compares a key with itself: a NaN is not equal to itself, and a key of an
// interface type may not be comparable.
func equalsItself[K comparable](key K) (equal, compares bool) {
	defer func() {
		if recover() != nil {
			compares = false
		}
	}()
	return key == key, true //nolint:gocritic // that is the question
}

// plain says that all values of a type can be compared and are equal to themselves.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128, reflect.Interface:
		return false
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}

// pin finds the pool of a key, or waits until there is one. not is one that was closed.
func (s *Set[K, C]) pin(ctx context.Context, key K, not *actors.Member) (*actors.Member, error) {
	if s.check != nil {
		if err := s.check(key); err != nil {
			return nil, err
		}
	}
	if m := s.index.find(key); m != nil && m != not && !s.ref.Closed() && m.Pin() {
		return m, nil
	}
	return s.ref.Want(ctx, key, not)
}

// Get borrows a connection of a key, as [Pool.Get] does. The pool of the key is made if
// there is none; if it is being closed, Get waits for that first.
//
// Besides those of [Pool.Get], the error is one of these:
//
//   - A *[messages.ConfigError], if the key is not equal to itself, as a NaN is, or cannot
//     be compared.
//   - A *[messages.GetError] that unwraps to a *[messages.KeyError], if New failed.
//
// ErrDeadlock is also the error if all Total connections are held by callers that wait for
// another one of the Set, each with the context of what it holds: see [Lease.Context]. A
// wait for a place among MaxPools is bounded as the Get itself is, by its context or by
// GetTimeout.
func (s *Set[K, C]) Get(ctx context.Context, key K) (Lease[C], error) {
	return s.GetWith(ctx, key, GetOptions{})
}

// GetWith is [Set.Get] with options.
func (s *Set[K, C]) GetWith(ctx context.Context, key K, o GetOptions) (Lease[C], error) {
	lease, m, err := s.borrow(ctx, key, o)
	if m != nil {
		m.Unpin()
	}
	return lease, err
}

// borrow is GetWith, with the pool that the connection is from. That is pinned, unless it
// is nil.
func (s *Set[K, C]) borrow(ctx context.Context, key K, o GetOptions) (_ Lease[C], pinned *actors.Member, _ error) {
	returned := false
	defer func() {
		if !returned && pinned != nil { // the context has panicked
			pinned.Unpin()
		}
	}()
	var not *actors.Member
	for {
		m, err := s.pin(ctx, key, not)
		if err != nil {
			returned = true
			return Lease[C]{}, nil, err
		}
		pinned = m
		loan, err := m.Ref().Get(ctx, o.Label, o.Setting)
		if err != nil && errors.Is(err, messages.ErrClosed) && m.Ref().Closed() && !s.ref.Closed() {
			m.Unpin() // somebody has closed this pool: there will be another
			pinned, not = nil, m
			continue
		}
		returned = true
		return Lease[C]{loan: loan}, m, err
	}
}

// TryGet borrows an idle connection of a key without a setting, if one can be lent at once,
// as [Pool.TryGet] does. It makes no pool.
func (s *Set[K, C]) TryGet(key K) (Lease[C], bool) {
	if s.check != nil && s.check(key) != nil || s.ref.Closed() {
		return Lease[C]{}, false
	}
	m := s.index.find(key)
	if m == nil || !m.Pin() {
		return Lease[C]{}, false
	}
	defer m.Unpin()
	loan, err := m.Ref().TryGet("", nil)
	return Lease[C]{loan: loan}, err == nil
}

// Do borrows a connection of a key, calls f with it, and returns it, as [Pool.Do] does.
func (s *Set[K, C]) Do(ctx context.Context, key K, f func(ctx context.Context, conn C) error) error {
	return s.DoWith(ctx, key, GetOptions{}, f)
}

// DoWith is [Set.Do] with options for its Get.
func (s *Set[K, C]) DoWith(ctx context.Context, key K, o GetOptions, f func(ctx context.Context, conn C) error) error {
	lease, m, err := s.borrow(ctx, key, o)
	if m != nil {
		m.Unpin() // the lease keeps the pool from being closed
	}
	if err != nil {
		return err
	}
	return do(ctx, m.Ref(), lease, f)
}

// Pool returns the pool of a key, or nil if there is none at the moment. It makes none,
// and does not keep the Set from closing it. To SetCapacity and SetMinIdle the pool returns
// a *[messages.ConfigError]. If it is closed, the next Get of the Set makes another one.
func (s *Set[K, C]) Pool(key K) *Pool[C] {
	if s.check != nil && s.check(key) != nil {
		return nil
	}
	return poolOf[C](s.index.find(key))
}

// poolOf makes a Pool of a member; nil for nil.
func poolOf[C any](m *actors.Member) *Pool[C] {
	if m == nil {
		return nil
	}
	p := &Pool[C]{pid: m.Ref().PID()}
	p.ref.Store(m.Ref())
	return p
}

// Each returns an iterator over the keys that have a pool, and their pools, as of the moment
// in which it begins, in no particular order.
func (s *Set[K, C]) Each() iter.Seq2[K, *Pool[C]] {
	return func(yield func(K, *Pool[C]) bool) {
		snapshot, open := s.ref.Snapshot()
		if !open {
			return
		}
		for i, m := range snapshot.Members {
			if !yield(keyOf[K](snapshot.Keys[i]), poolOf[C](m)) {
				return
			}
		}
	}
}

// shown is what a page shows of a pool: the type page.Pool, of which it is an alias.
type shown = interface {
	Stats() Stats
	Done() <-chan struct{}
	Explain(ctx context.Context) (messages.Explanation, error)
	Measure(ctx context.Context) (messages.Measures, error)
}

// longestName bounds the names that Pools gives, in runes.
const longestName = 60

// Pools returns the iterator of [Set.Each] with names instead of keys, which makes a Set a
// page.Group: a page shows it with its pools. A name is the key by %v, of which at most 60
// runes are given; where that is the same for several keys, the PID of the pool follows.
func (s *Set[K, C]) Pools() iter.Seq2[string, shown] {
	return func(yield func(string, shown) bool) {
		var pools []*Pool[C]
		var names []string
		count := make(map[string]int)
		for key, p := range s.Each() {
			name := s.ref.KeyText(key)
			if runes := []rune(name); len(runes) > longestName {
				name = string(runes[:longestName-1]) + "…"
			}
			count[name]++
			pools, names = append(pools, p), append(names, name)
		}
		for i, p := range pools {
			if count[names[i]] > 1 {
				names[i] += " (" + p.PID().Id + ")"
			}
			if !yield(names[i], p) {
				return
			}
		}
	}
}

// Stats returns the sum of the Stats of all pools, those that were closed included, as one
// pool: its Name is that of the Set, its Capacity is Total, and Waiting includes the Gets
// that wait for a pool. The numbers of each pool are of one moment, but not those of all
// together. Generation is the number of Clears of all pools. For one key, see Pool.
func (s *Set[K, C]) Stats() Stats {
	snapshot, ok := s.ref.Snapshot()
	sum := snapshot.Past.Stats
	for _, m := range snapshot.Members {
		sum = actors.SumStats(sum, m.Ref().Stats())
	}
	return s.asOne(sum, snapshot, ok)
}

func (s *Set[K, C]) asOne(sum Stats, snapshot actors.SetSnapshot, open bool) Stats {
	sum.Name, sum.Capacity, sum.MaxIdle, sum.State = s.name, s.total, s.total, messages.StateReady
	sum.Waiting += snapshot.Waiting
	switch {
	case !open:
		sum.State = messages.StateClosed
	case s.ref.Closed():
		sum.State = messages.StateClosing
	}
	return sum
}

// Measure returns the sum of the measures of all pools, those that were closed included,
// with Stats as of [Set.Stats]. It works until the Set is closed; then it returns
// messages.ErrClosed.
func (s *Set[K, C]) Measure(ctx context.Context) (messages.Measures, error) {
	if ctx == nil {
		return messages.Measures{}, messages.ErrNilContext
	}
	snapshot, ok := s.ref.Snapshot()
	if !ok {
		return messages.Measures{}, messages.ErrClosed
	}
	sum := snapshot.Past
	for _, m := range snapshot.Members {
		one, err := m.Measure(ctx)
		if err != nil {
			return messages.Measures{}, err
		}
		sum = actors.SumMeasures(sum, one)
	}
	sum.Stats = s.asOne(sum.Stats, snapshot, true)
	return sum, nil
}

// Close closes all pools, as [Pool.Close] does, and waits for them. Its error is that of
// one pool, or the errors of several joined, each of them a *[messages.DrainError]. It
// does not wait for New.
func (s *Set[K, C]) Close(ctx context.Context) error { return s.ref.Close(ctx) }

// Done returns a channel that is closed when nothing of the pools is left after Close: see
// [Pool.Done].
func (s *Set[K, C]) Done() <-chan struct{} { return s.ref.Done() }
