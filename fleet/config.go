package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/actorpool/actorpool/fleet/store"
	"github.com/actorpool/actorpool/messages"
)

// Config is the configuration of a member of a fleet.
type Config struct {
	// Key names the budget: all members with the same Key share it. It is required, and
	// must not contain a slash.
	Key string
	// Budget is the largest number of connections of the whole fleet: what the server
	// allows, less a reserve for people, for other programs, and for the connections of the
	// store and of Reclaim. It must be at least 1. The first member writes it to the ledger;
	// a member with another Budget is refused. See [SetBudget].
	Budget int
	// Floor is how many connections every living member is given, also one that asks for
	// none; and how many it keeps while it cannot reach the store. Default: 0.
	Floor int
	// TTL is how long after its last renewal a member is taken for dead. A member that has
	// not renewed its lease for two thirds of it opens nothing new, and closes what is idle
	// above Floor; at the end of it, it closes everything. Default: 15s. It must be at least
	// 2s, and what the store can keep.
	TTL time.Duration
	// Drift is how much faster or slower than real time the clock of a process may be: .01
	// is 1 %. Default: .01. It must be below .25.
	Drift float64
	// Store keeps the ledger. It is required.
	Store store.Store
	// Reclaim says how the connections of a member that has died are had back. Default:
	// [ReclaimByAck]: not at all.
	Reclaim Reclaimer
	// Name appears in [Incarnation] and in Status. Default: the name of the host.
	Name string
	// Logger gets what happens to the member. nil: nobody does.
	Logger *slog.Logger
}

// The defaults of Config.
const (
	DefaultTTL   = 15 * time.Second
	DefaultDrift = .01
	minTTL       = 2 * time.Second
)

// Reclaimer has back what dead members are charged for.
type Reclaimer interface {
	// Reclaim is called by one coordinator or several with incarnations whose lease has
	// ended a while ago. It makes sure that they hold nothing, and returns those of which
	// it is sure. It is called again with the others.
	Reclaim(ctx context.Context, suspects []string) (gone []string, err error)
	// Grace is how long an incarnation must be without a lease before it is a suspect.
	Grace() time.Duration
}

// Fence is a Reclaimer that knows every incarnation before it connects, so that it can
// refuse it later.
type Fence interface {
	Reclaimer
	// Check says whether the fence has what it needs to do its work. New calls it.
	Check(ctx context.Context) error
	// Admit lets an incarnation connect. It is called before the incarnation joins.
	Admit(ctx context.Context, incarnation string) error
	// Retire forgets an incarnation that has left. To retire one that is not there is no
	// error.
	Retire(ctx context.Context, incarnation string) error
}

// SlotFence is a Fence whose logins belong to slots, which members have one after the
// other: see [Slot].
type SlotFence interface {
	Fence
	// Slots is how many slots there are: members have those from 0 to below it, and a member
	// that finds none free waits for one. 0: this is just a Fence, and Occupy is not called.
	Slots() int
	// Occupy lets an incarnation log in by the slot that the ledger has given it, and nobody
	// else by that slot. It is called before the first connect, and again if it fails.
	//
	// alive fails if the incarnation's lease has ended. It asks the store. Occupy must call it
	// while no Reclaim can be under way, and fail if it does: otherwise a process that was
	// frozen could take the slot away from the member that has it now.
	Occupy(ctx context.Context, incarnation string, slot int, alive func(ctx context.Context) error) error
}

// slotFence is the fence of a fleet whose logins belong to slots; nil: it has none.
func (cfg *Config) slotFence() SlotFence {
	if f, ok := cfg.Reclaim.(SlotFence); ok && f.Slots() > 0 {
		return f
	}
	return nil
}

// ReclaimByAck has nothing back: what a crashed member was charged for is lost until an
// operator calls [Forget]. The budget holds whatever happens.
var ReclaimByAck Reclaimer = byAck{}

type byAck struct{}

func (byAck) Reclaim(context.Context, []string) ([]string, error) { return nil, nil }
func (byAck) Grace() time.Duration                                { return 0 }

// ReclaimByTime takes a member for gone when its lease has ended and grace has passed
// since. The budget holds as long as no process is frozen beyond its deadline and goes on
// then, no clock is off by more than Config.Drift, and the server notices within grace
// that a client is dead. The first of these is often not so: a virtual machine that is
// paused, a process that is stopped. Then the fleet may for a while hold more than its
// budget.
func ReclaimByTime(grace time.Duration) Reclaimer { return byTime(grace) }

type byTime time.Duration

func (byTime) Reclaim(_ context.Context, suspects []string) ([]string, error) { return suspects, nil }
func (t byTime) Grace() time.Duration                                         { return time.Duration(t) }

// check says what is wrong with a configuration, and sets the defaults.
func (cfg *Config) check() error {
	var faults messages.ConfigErrors
	refuse := func(wrong bool, field, format string, args ...any) {
		if wrong {
			faults = append(faults, &messages.ConfigError{Field: field, Reason: fmt.Sprintf(format, args...)})
		}
	}
	refuse(cfg.Key == "", "fleet.Config.Key", "it is required")
	refuse(strings.Contains(cfg.Key, "/"), "fleet.Config.Key", "%q contains a slash", cfg.Key)
	refuse(cfg.Budget < 1, "fleet.Config.Budget", "%d is less than 1", cfg.Budget)
	refuse(cfg.Floor < 0, "fleet.Config.Floor", "%d is negative", cfg.Floor)
	refuse(cfg.Floor > cfg.Budget && cfg.Budget > 0, "fleet.Config.Floor", "%d is above Budget %d: not even one member could have it", cfg.Floor, cfg.Budget)
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	refuse(cfg.TTL < minTTL, "fleet.Config.TTL", "%v is less than %v", cfg.TTL, minTTL)
	if cfg.Drift == 0 {
		cfg.Drift = DefaultDrift
	}
	refuse(!(cfg.Drift > 0 && cfg.Drift < .25), "fleet.Config.Drift", "%v is not between 0 and .25", cfg.Drift)
	refuse(cfg.Store == nil, "fleet.Config.Store", "it is required")
	if cfg.Reclaim == nil {
		cfg.Reclaim = ReclaimByAck
	}
	if t, ok := cfg.Reclaim.(byTime); ok {
		refuse(t < 0, "fleet.Config.Reclaim", "a grace of %v is negative", time.Duration(t))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}
