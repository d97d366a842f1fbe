package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/messages"
	"github.com/actorpool/actorpool/page"
)

// The page shows a member with its fleet.
var (
	_ page.Pool    = (*fleet.Member)(nil)
	_ page.InFleet = (*fleet.Member)(nil)
)

// denied is the text of a Get that is denied within a moment.
func (p *process) denied(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := p.pool.Get(ctx)
	require.ErrorAs(t, err, new(*messages.GetError))
	return err.Error()
}

func TestAMemberWithoutQuotaSaysSoInStatusAndInTheErrorOfAGet(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		one := func(cfg *fleet.Config) { cfg.Budget = 1 }
		a := w.join(one)
		a.use(t, 1)
		eventually(t, ttl, func() bool { return a.users.Load() == 1 }, "it has the only one: %v", a.Status())
		assert.Empty(t, a.Status().Note)
		b := w.join(one)
		b.use(t, 1)
		eventually(t, ttl, func() bool { return b.Status().NoQuota() }, "it lacks one: %v", b.Status())
		assert.Equal(t, "fleet: no quota", b.Status().Note)
		assert.Contains(t, b.Status().String(), "; fleet: no quota")
		assert.Contains(t, b.denied(t), "(fleet: no quota; capacity 0: 2 waiting)")
		explained, err := b.Explain(t.Context())
		require.NoError(t, err)
		assert.Contains(t, explained.String(), "(fleet: no quota)")
		assert.Equal(t, "fleet: no quota", b.pool.Health().CapacityNote)

		measures, err := b.Measure(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "fleet: no quota", measures.Stats.CapacityNote)

		a.rest()
		eventually(t, 2*ttl, func() bool { return b.users.Load() == 1 }, "it comes: %v", b.Status())
		assert.Empty(t, b.Status().Note)
		assert.Empty(t, b.Stats().CapacityNote)
		a.leave(t)
		b.leave(t)
	})
}

func TestTheNoteSaysForHowLongTheStoreWasNotReached(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join(func(cfg *fleet.Config) { cfg.Floor = 1 })
		a.use(t, 2)
		eventually(t, ttl, func() bool { return a.users.Load() == 2 }, "it works: %v", a.Status())
		a.store.fail(func(string, int) error { return errAway })
		seen := map[string]bool{}
		eventually(t, 2*ttl, func() bool {
			seen[a.Stats().CapacityNote] = true
			return a.Stats().CapacityNote == "fleet: store not reached for 6s, all is closed"
		}, "hard: %v", a.Status())
		assert.Equal(t, map[string]bool{
			"": true,
			"fleet: store not reached for 2s, shares do not move": true, "fleet: store not reached for 3s, shares do not move": true,
			"fleet: store not reached for 3s, connects refused": true, "fleet: store not reached for 4s, connects refused": true,
			"fleet: store not reached for 4s, all is closed": true, "fleet: store not reached for 5s, all is closed": true,
			"fleet: store not reached for 6s, all is closed": true,
		}, seen)
		assert.Contains(t, a.denied(t), "(fleet: store not reached for 6s, all is closed; capacity 0: 3 waiting)")
		failed := a.Status().Errors
		assert.GreaterOrEqual(t, failed, uint64(5), "renewals fail")
		a.store.heal()
		eventually(t, 2*ttl, func() bool { return a.users.Load() == 2 }, "it is back: %v", a.Status())
		assert.Empty(t, a.Status().Note)
		assert.GreaterOrEqual(t, a.Status().Errors, failed)
		a.leave(t)
	})
}

func TestTheNoteSaysThatAMemberJoinsAgainOrLeaves(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join()
		l, err := a.pool.Get(t.Context())
		require.NoError(t, err)
		a.store.fail(func(name string, _ int) error {
			if name == "join" || name == "renew" {
				return errLost(name)
			}
			return nil
		})
		noted := func(note string) func() bool { return func() bool { return a.Stats().CapacityNote == note } }
		eventually(t, ttl, noted("fleet: lease has ended, joining again"), "its lease is lost: %v", a.Status())
		eventually(t, ttl, noted("fleet: joining again failed, trying again"), "it cannot join: %v", a.Status())
		a.store.heal()
		require.ErrorIs(t, l.Put(), messages.ErrLeaseEnded)
		eventually(t, 2*ttl, func() bool { return a.Status().Phase == "live" }, "it has joined: %v", a.Status())

		l, err = a.pool.Get(t.Context())
		require.NoError(t, err)
		left := make(chan error, 1)
		go func() { left <- a.Leave(context.Background()) }()
		eventually(t, ttl, noted("fleet: leaving"), "it waits for the lease: %v", a.Status())
		require.NoError(t, l.Put())
		require.NoError(t, <-left)
		<-a.Done()
		assert.Empty(t, a.Status().Note)
	})
}

func TestTheNoteSaysThatConnectionsWhichAreKeptTakeTheShare(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a := w.join(func(cfg *fleet.Config) { cfg.Budget = 1 })
		l, err := a.pool.Get(t.Context())
		require.NoError(t, err)
		kept, err := l.Hijack()
		require.NoError(t, err)
		const note = "fleet: share is taken by connections given up"
		eventually(t, ttl, func() bool { return a.Stats().CapacityNote == note }, "it counts: %v", a.Status())
		assert.Contains(t, a.denied(t), "("+note+"; capacity 0: 1 waiting)")
		require.NoError(t, kept.Close())
		require.ErrorContains(t, a.Leave(t.Context()), "1 connections may still be open")
		<-a.Done()
	})
}

// What the live page says of a member, from its store's outage to its end.
func TestThePageShowsAMemberWithItsFleet(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		a, b := w.join(), w.join()
		h := page.New(page.Options{}, a)
		defer h.Close()
		look := func() (text string) {
			r := httptest.NewRequest(http.MethodGet, "/json", nil)
			r.Host = "localhost"
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			var d struct {
				Pools []struct {
					Verdict struct{ Sentence string }
					Fleet   *struct {
						Budget, Alive int
						Phase         string
						Members       []fleet.Row
					}
				}
			}
			require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &d))
			require.Len(t, d.Pools, 1)
			if f := d.Pools[0].Fleet; f != nil {
				text = fmt.Sprintf("%d alive, %d rows, budget %d, %s: ", f.Alive, len(f.Members), f.Budget, f.Phase)
			}
			return text + d.Pools[0].Verdict.Sentence
		}
		a.use(t, 2)
		eventually(t, 2*ttl, func() bool {
			said, ok := strings.CutPrefix(look(), "2 alive, 2 rows, budget 10, live: ")
			return ok && !strings.HasPrefix(said, "Capacity ")
		}, "live: %s", look())
		a.store.fail(func(string, int) error { return errAway })
		eventually(t, 2*ttl, func() bool {
			return strings.HasPrefix(look(), "2 alive, 2 rows, budget 10, hard: Capacity 0: fleet: store not reached for 6s, all is closed. 2 callers wait.")
		}, "hard: %s", look())
		a.store.heal()
		a.leave(t)
		b.leave(t)
		eventually(t, ttl, func() bool { return look() == "Closed: no connection is left." }, "closed: %s", look())
	})
}
