package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/messages"
)

// ErrNoQuota is the error of a connect that the fleet does not allow now. The pool does not
// back off because of it.
var ErrNoQuota = errors.New("fleet: no quota: the fleet does not allow this member another connection now")

// New joins a fleet, and makes a pool whose capacity the fleet sets. The pool begins with
// none: Gets wait until the fleet has given the member its share, which takes a few
// operations of the store.
//
// Capacity must not be set in pool. MinIdle is kept as far as the share allows, and is part
// of what the member asks for. Disconnect must return only when the server has closed the
// connection, too: what it has closed is dealt to another member.
//
// The error is a messages.ConfigErrors if one of the configurations is invalid, a
// *messages.ConfigError if the ledger has another budget, and otherwise that of the store.
// ctx bounds New, not the pool.
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
	sum, err := cfg.Store.Open(ctx, cfg.Key, cfg.Budget)
	if err != nil {
		return nil, nil, fmt.Errorf("fleet: opening the ledger %q: %w", cfg.Key, err)
	}
	if sum.Budget != cfg.Budget {
		return nil, nil, &messages.ConfigError{
			Field:  "fleet.Config.Budget",
			Reason: fmt.Sprintf("it is %d, and the ledger %q has %d: change it with fleet.SetBudget, or give every member the same", cfg.Budget, cfg.Key, sum.Budget),
		}
	}
	g := &gate{started: time.Now()}
	minIdle := pool.MinIdle
	pool.Capacity, pool.MinIdle = client.NoCapacity, 0
	guard(&pool, g)
	quiet := slog.New(slog.DiscardHandler)
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		actor.WithDeadLetterThrottleInterval(time.Nanosecond))
	p, err := client.Spawn(system.Root, pool)
	if err != nil {
		return nil, nil, err
	}
	m := &Member{system: system, left: make(chan struct{})}
	m.status.Store(&published{Status: Status{Key: cfg.Key, Budget: cfg.Budget, Phase: "new"}})
	props := actor.PropsFromProducer(func() actor.Actor {
		return &member{cfg: &cfg, gate: g, facade: m, pool: p.PID(), minIdle: minIdle}
	})
	if m.pid, err = system.Root.SpawnNamed(props, "fleet-"+cfg.Key); err != nil {
		return nil, nil, errors.Join(err, p.Close(ctx))
	}
	if err := m.join(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("fleet: joining %q: %w", cfg.Key, err), p.Close(ctx))
	}
	return p, m, nil
}

// SetBudget changes the budget of a fleet that is there. While members hold more than a
// lower budget, nothing is dealt: each closes what it has too many as it comes back.
// Members that are started afterwards must have the new Budget.
func SetBudget(ctx context.Context, cfg Config, budget int) error {
	if budget < 1 {
		return &messages.ConfigError{Field: "budget", Reason: fmt.Sprintf("%d is less than 1", budget)}
	}
	return cfg.Store.SetBudget(ctx, cfg.Key, budget)
}

// gate is what a connect asks before it begins. The member's actor writes it.
type gate struct {
	started time.Time
	// until is when connects are refused, in nanoseconds since started: a process that was
	// frozen finds it passed, though its actor has not said so yet.
	until       atomic.Int64
	incarnation atomic.Pointer[string]
}

func (g *gate) now() time.Duration { return time.Since(g.started) }

// open says for which incarnation a connect may begin now; false: for none.
func (g *gate) open() (incarnation string, ok bool) {
	inc := g.incarnation.Load()
	if inc == nil || g.now() >= time.Duration(g.until.Load()) {
		return "", false
	}
	return *inc, true
}

type incarnationKey struct{}

// Incarnation gives, inside of Connect, the name of the member's present life: a session
// that is named so can be found when the member has died. "" elsewhere.
func Incarnation(ctx context.Context) string {
	inc, _ := ctx.Value(incarnationKey{}).(string)
	return inc
}

// guard puts the gate before Connect.
func guard[C any](pool *client.Config[C], g *gate) {
	connect, classify := pool.Connect, pool.Classify
	if connect == nil {
		return // Spawn says so
	}
	pool.Connect = func(ctx context.Context) (C, error) {
		inc, ok := g.open()
		if !ok {
			var none C
			return none, ErrNoQuota
		}
		return connect(context.WithValue(ctx, incarnationKey{}, inc))
	}
	if classify == nil {
		classify = actors.Classify
	}
	pool.Classify = func(phase messages.Phase, err error) messages.Class {
		if errors.Is(err, ErrNoQuota) {
			return messages.ClassIgnore
		}
		return classify(phase, err)
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
	for i, c := range clean {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '.' || c == '_') {
			clean[i] = '_'
		}
	}
	return string(clean[:min(len(clean), 32)])
}
