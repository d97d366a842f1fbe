package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet/store"
	"github.com/actorpool/actorpool/messages"
)

// New joins a fleet, and makes a pool whose capacity the fleet sets. The pool begins with
// none: Gets wait until the fleet has given the member its share, which takes a few
// operations of the store.
//
// Capacity must not be set in pool. MinIdle is kept as far as the share allows, and is part
// of what the member asks for. Connect must not return an error, and Disconnect must not
// return, before the server has closed the connection, too: what is closed is dealt to
// another member. A connection that its holder keeps, by Lease.Hijack, counts until the
// process ends.
//
// The error is a messages.ConfigErrors or a *messages.ConfigError if one of the
// configurations is invalid, or if the ledger has another budget or no room for the Floor
// of another member; otherwise it is that of the store or of Reclaim. ctx bounds New, not
// the pool.
func New[C any](ctx context.Context, pool client.Config[C], cfg Config) (*client.Pool[C], *Member, error) {
	if ctx == nil {
		return nil, nil, messages.ErrNilContext
	}
	if err := cfg.check(); err != nil {
		return nil, nil, err
	}
	if pool.Capacity != 0 && pool.Capacity != client.NoCapacity {
		return nil, nil, &messages.ConfigError{Field: "Capacity", Reason: fmt.Sprintf("it is %d, and the fleet sets it", pool.Capacity)}
	}
	minIdle := pool.MinIdle
	if minIdle < 0 || pool.MaxIdle > 0 && minIdle > pool.MaxIdle {
		return nil, nil, &messages.ConfigError{Field: "MinIdle", Reason: fmt.Sprintf("%d is negative or above MaxIdle, %d", minIdle, pool.MaxIdle)}
	}
	g := newGate()
	pool.Capacity, pool.MinIdle = client.NoCapacity, 0
	guard(&pool, g)
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
	p, err := client.Spawn(system.Root, pool) // also says what is wrong with pool
	if err != nil {
		system.Shutdown()
		return nil, nil, err
	}
	if err := cfg.open(ctx); err != nil {
		err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) // it has no connections
		system.Shutdown()
		return nil, nil, err
	}
	m := &Member{system: system, pool: p, left: make(chan struct{}), patience: cfg.TTL}
	m.last.Store(&published{Status: Status{Key: cfg.Key, Budget: cfg.Budget, TTL: cfg.TTL, Phase: "new"}})
	shared := &shared{cfg: &cfg, gate: g, facade: m, pool: p.PID(), minIdle: minIdle, resumes: pool.PauseOnClear}
	shared.life, shared.die = context.WithCancel(context.Background())
	props := actor.PropsFromProducer(func() actor.Actor { return &memberActor{shared: shared} })
	if m.pid, err = system.Root.SpawnNamed(props, "fleet-"+cfg.Key); err != nil {
		return nil, nil, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	if err := m.join(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("fleet: joining %q: %w", cfg.Key, err), p.Close(context.WithoutCancel(ctx)))
	}
	return p, m, nil
}

// open opens the ledger, and says what in it does not fit to the configuration.
func (cfg *Config) open(ctx context.Context) error {
	sum, err := cfg.Store.Open(ctx, cfg.Key, cfg.Budget)
	if err != nil {
		return fmt.Errorf("fleet: opening the ledger %q: %w", cfg.Key, err)
	}
	if sum.Budget != cfg.Budget {
		return &messages.ConfigError{
			Field: "fleet.Config.Budget",
			Reason: fmt.Sprintf("it is %d, and the ledger %q has %d: change that with fleet.SetBudget, or give every member the same",
				cfg.Budget, cfg.Key, sum.Budget),
		}
	}
	v, err := cfg.Store.Snapshot(ctx, cfg.Key)
	if err != nil {
		return fmt.Errorf("fleet: reading the ledger %q: %w", cfg.Key, err)
	}
	if n := len(v.Reports) + 1; n*cfg.Floor > sum.Budget {
		return &messages.ConfigError{
			Field:  "fleet.Config.Floor",
			Reason: fmt.Sprintf("%d for each of %d members is more than Budget, %d: lower it, or start fewer members", cfg.Floor, n, sum.Budget),
		}
	}
	if f, ok := cfg.Reclaim.(Fence); ok {
		if err := f.Check(ctx); err != nil {
			return fmt.Errorf("fleet: Config.Reclaim cannot do its work: %w", err)
		}
	}
	return nil
}

// SetBudget changes the budget of a fleet that is there; of cfg it uses Key and Store.
// While members hold more than a lower budget, nothing is dealt: each closes what it has
// too many as it comes back. Members that are started afterwards must have the new Budget.
func SetBudget(ctx context.Context, cfg Config, budget int) error {
	switch {
	case ctx == nil:
		return messages.ErrNilContext
	case cfg.Store == nil:
		return &messages.ConfigError{Field: "fleet.Config.Store", Reason: "it is required"}
	case budget < 1:
		return &messages.ConfigError{Field: "budget", Reason: fmt.Sprintf("%d is less than 1", budget)}
	}
	return cfg.Store.SetBudget(ctx, cfg.Key, budget)
}

// Forget gives the others what a dead incarnation is charged for; of cfg it uses Key and
// Store. It believes the caller that the process has ended and that the server has closed
// its connections: if that is not so, the fleet holds more than its budget. An incarnation
// whose lease lives, or that has no row, is an error.
func Forget(ctx context.Context, cfg Config, incarnation string) error {
	switch {
	case ctx == nil:
		return messages.ErrNilContext
	case cfg.Store == nil:
		return &messages.ConfigError{Field: "fleet.Config.Store", Reason: "it is required"}
	}
	for {
		v, err := cfg.Store.Snapshot(ctx, cfg.Key)
		if err != nil {
			return err
		}
		if _, alive := v.Reports[incarnation]; alive {
			return fmt.Errorf("fleet: the lease of %q lives: it is not dead", incarnation)
		}
		if _, charged := v.Rows[incarnation]; !charged {
			return fmt.Errorf("fleet: the ledger %q has no row for %q", cfg.Key, incarnation)
		}
		err = cfg.Store.Commit(ctx, cfg.Key, v.Sum, v.Sum, []store.Change{{Incarnation: incarnation, Delete: true}})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// newIncarnation names a life of a member.
func newIncarnation(name string) string {
	if name == "" {
		name, _ = os.Hostname()
	}
	var random [6]byte
	_, _ = rand.Read(random[:]) // it never fails
	return fmt.Sprintf("%s-%d-%s", sanitized(name), os.Getpid(), hex.EncodeToString(random[:]))
}

// sanitized makes a part of a key of a name.
func sanitized(name string) string {
	clean := []byte(name)
	clean = clean[:min(len(clean), 24)]
	for i, c := range clean {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c == '.':
		default:
			clean[i] = '_'
		}
	}
	return string(clean)
}
