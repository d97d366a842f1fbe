package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/messages"
)

// A turn of a caller must have the guard of a message: who waits is answered, and the
// pool ends.
func TestADirectTurnThatPanicsEndsThePool(t *testing.T) {
	for _, turn := range []string{"get", "put"} {
		t.Run(turn, func(t *testing.T) {
			f := &fake{}
			_, ref := spawnPool(t, f.spec(2))
			require.NotNil(t, ref.box)
			a, err := ref.Get(t.Context(), "", nil)
			require.NoError(t, err)
			b, err := ref.Get(t.Context(), "", nil)
			require.NoError(t, err)
			errs := make(chan error, 2)
			get := func() {
				_, err := ref.Get(context.Background(), "", nil)
				errs <- err
			}
			waiting := 0
			if turn == "put" {
				waiting = 2
				go get()
				go get()
				until(t, "both wait", func() bool { return ref.Stats().Waiting == 2 })
			} else {
				_ = b.Put()
			}
			until(t, "the mailbox is free", ref.box.enter)
			a.lent.slot.Conn, b.lent.slot.Conn = nil, nil // as only a bug could
			ref.box.exit()
			if turn == "put" {
				_ = a.Put()
			} else {
				waiting = 1
				get()
			}
			for range waiting {
				require.ErrorIs(t, <-errs, messages.ErrPoolFailed)
			}
			<-ref.ended
			require.ErrorIs(t, ref.SetCapacity(t.Context(), 5), messages.ErrPoolFailed)
		})
	}
}

// A control is answered after all that it has caused, also when another goroutine runs the
// pool actor.
func TestAnAnswerComesAfterItsEffects(t *testing.T) {
	for range 20 {
		f := &fake{}
		_, ref := spawnPool(t, f.spec(100))
		var leases []Lease
		for range 100 {
			l, err := ref.Get(t.Context(), "", nil)
			require.NoError(t, err)
			leases = append(leases, l)
		}
		until(t, "the mailbox is free", ref.box.enter)
		cleared := make(chan error)
		go func() {
			err := ref.Clear(t.Context(), true)
			for i := range leases {
				if _, ok := leases[len(leases)-1-i].Conn(); ok && err == nil {
					err = errors.New("a lease has not ended")
				}
			}
			cleared <- err
		}()
		until(t, "the Clear is sent", func() bool { return ref.box.UserMessageCount() == 1 })
		ref.box.exit() // it is handled here
		require.NoError(t, <-cleared)
		require.NoError(t, ref.Close(t.Context()))
	}
}

// What a program puts between the mailbox and the actor must see every message.
func TestWhereSomebodyCanNoticeEverythingGoesByMessage(t *testing.T) {
	seen := 0
	for name, opt := range map[string]actor.PropsOption{
		"receiver middleware": actor.WithReceiverMiddleware(func(next actor.ReceiverFunc) actor.ReceiverFunc {
			return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
				if _, ok := envelope.Message.(*getRequest); ok {
					seen++
				}
				next(ctx, envelope)
			}
		}),
		"context decorator": actor.WithContextDecorator(func(next actor.ContextDecoratorFunc) actor.ContextDecoratorFunc { return next }),
		"another mailbox":   actor.WithMailbox(actor.Unbounded()),
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			_, ref := spawnPool(t, f.spec(1), opt)
			assert.Nil(t, ref.box)
			for range 2 {
				l, err := ref.Get(t.Context(), "", nil)
				require.NoError(t, err)
				require.NoError(t, l.Put())
			}
		})
	}
	assert.Equal(t, 2, seen)
	system := actor.NewActorSystem(func(c *actor.Config) { c.MetricsEnabled = true })
	f := &fake{}
	ref, err := Find(t.Context(), system, system.Root.Spawn(Props(f.spec(1))))
	require.NoError(t, err)
	assert.Nil(t, ref.box)
	f = &fake{}
	_, ref = spawnPool(t, f.spec(1))
	assert.NotNil(t, ref.box)
}

// TestADirectTurnIsTheSameAsAMessage runs random histories with two pools, one of which
// takes no direct turns, and compares all that can be seen of them after each step:
// results, numbers, and events.
func TestADirectTurnIsTheSameAsAMessage(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 20
	}
	direct := 0
	for seed := range seeds {
		run := func(directly bool) (saw []string) {
			synctest.Test(t, func(t *testing.T) {
				h := newHistory(t, uint64(seed), directly)
				for range 60 {
					saw = append(saw, h.step())
				}
				direct += h.granted
				h.end()
			})
			return saw
		}
		byMessage := run(false)
		for i, saw := range run(true) {
			require.Equal(t, byMessage[i], saw, "seed %d, step %d", seed, i)
		}
	}
	assert.Greater(t, direct, 10*seeds, "that many leases were lent")
}

// history is a random history of one pool. The same seed gives the same steps.
type history struct {
	t       *testing.T
	random  *rand.Rand
	ref     *Ref
	leases  []Lease
	waits   []context.CancelFunc
	got     []chan Lease // of the Gets so far
	results chan string
	lock    sync.Mutex
	seen    string // the events since the last step
	granted int
}

func newHistory(t *testing.T, seed uint64, directly bool) *history {
	t.Helper()
	h := &history{t: t, random: rand.New(rand.NewPCG(seed, 1)), results: make(chan string, 1000)}
	f := &fake{}
	spec := f.spec(1 + h.random.IntN(3))
	yes := func() bool { return h.random.IntN(2) == 0 }
	spec.Policy.Random = func() float64 { return 0.5 }
	// No two jobs end in one instant: their order would be that of the scheduler.
	spec.Policy.MaxConnecting = 1
	takes := func(job time.Duration, conn any) error {
		time.Sleep(job*1013 + time.Duration(conn.(int)))
		return nil
	}
	if yes() {
		spec.Check = func(_ context.Context, conn any) error { return takes(3, conn) }
		spec.Policy.Check, spec.Policy.CheckAfterIdle = true, time.Second
	}
	if yes() {
		spec.Policy.IdleTimeout = time.Minute
	}
	if yes() {
		spec.Policy.MaxUses = 5
	}
	if yes() {
		spec.Policy.MinIdle = 1
	}
	if yes() {
		spec.Policy.MaxLease = time.Minute
	}
	if yes() {
		closed := rand.New(rand.NewPCG(seed, 2))
		spec.IsClosed = func(any) bool {
			h.lock.Lock()
			defer h.lock.Unlock()
			return closed.IntN(8) == 0
		}
	}
	spec.Policy.Unapply = true
	spec.Apply = func(_ context.Context, conn, _ any) error { return takes(5, conn) }
	spec.Unapply = func(_ context.Context, conn any) error { return takes(7, conn) }
	spec.Disconnect = func(_ context.Context, conn any) error { return takes(11, conn) }
	spec.Connect = func(context.Context) (any, error) {
		time.Sleep(13 * 1019)
		return int(f.opened.Add(1)), nil
	}
	if yes() {
		spec.OnEvent = func(e messages.Event) {
			h.lock.Lock()
			defer h.lock.Unlock()
			h.seen += fmt.Sprintf("%v c%d %v %q %v %v\n", e.Kind, e.ConnID, e.Reason, e.Label, e.Duration, e.Err)
		}
	}
	_, h.ref = spawnPool(t, spec)
	require.NotNil(t, h.ref.box)
	synctest.Wait() // for MinIdle
	if !directly {
		h.ref.box, h.ref.pool, h.ref.getsDirectly = nil, nil, false
	}
	return h
}

// step takes a random step and says what can be seen after it.
func (h *history) step() string {
	saw := ""
	switch h.random.IntN(10) {
	case 0, 1, 2, 3:
		label := []string{"", "", "report"}[h.random.IntN(3)]
		setting := []any{nil, nil, nil, "red", "blue"}[h.random.IntN(5)]
		ctx, cancel := context.WithCancel(context.Background())
		if h.random.IntN(3) == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(h.random.IntN(3))*time.Second+time.Duration(len(h.waits))*1009*time.Nanosecond+137) // no two at once
		}
		h.waits = append(h.waits, cancel)
		got := make(chan Lease, 1)
		h.got = append(h.got, got)
		go func() {
			l, err := h.ref.Get(ctx, label, setting)
			h.results <- said(l, err)
			if err == nil {
				got <- l
			}
		}()
	case 4:
		l, err := h.ref.TryGet("", []any{nil, "red"}[h.random.IntN(2)])
		saw = fmt.Sprint("TryGet ", err, "; ")
		if err == nil {
			h.leases = append(h.leases, l)
		}
	case 5, 6, 7:
		if n := len(h.leases); n > 0 {
			i := h.random.IntN(n)
			l := h.leases[i]
			if h.random.IntN(6) == 0 {
				saw = fmt.Sprint("Taint ", l.Taint(errors.New("broken")))
			} else {
				saw = fmt.Sprint("Put ", l.Put())
			}
			if h.random.IntN(4) > 0 { // otherwise it is returned again later
				h.leases = append(h.leases[:i], h.leases[i+1:]...)
			}
		}
	case 8:
		time.Sleep(time.Duration(h.random.IntN(3000)) * time.Millisecond)
	case 9:
		if n := len(h.waits); n > 0 {
			h.waits[h.random.IntN(n)]()
		}
	}
	synctest.Wait()
	for _, got := range h.got {
		if len(got) > 0 {
			h.leases = append(h.leases, <-got)
			h.granted++
		}
	}
	var results []string
	for len(h.results) > 0 {
		results = append(results, <-h.results)
	}
	slices.Sort(results)
	saw += strings.Join(results, "\n")
	h.lock.Lock()
	defer h.lock.Unlock()
	saw += "\n" + strings.ReplaceAll(fmt.Sprintf("%+v", h.ref.Stats()), " ", "\n") + "\n" + h.seen
	h.seen = ""
	return saw
}

// said is what a Get has returned.
func said(l Lease, err error) string {
	if err != nil {
		return fmt.Sprintf("error %v", err)
	}
	return fmt.Sprintf("connection %d, lease %d", l.lent.id, l.epoch)
}

func (h *history) end() {
	for _, cancel := range h.waits {
		cancel()
	}
	synctest.Wait()
	for _, l := range h.leases {
		_ = l.Put()
	}
	synctest.Wait()
	for _, got := range h.got {
		if len(got) > 0 {
			_ = (<-got).Put()
		}
	}
	require.NoError(h.t, h.ref.Close(context.Background()))
	synctest.Wait()
}
