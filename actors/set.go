package actors

import (
	"cmp"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/actorpool/actorpool/actors/internal/setmachine"
	"github.com/actorpool/actorpool/messages"
)

// set is the actor above the pools of a set: it owns the keys and the units, asks the
// machine, and performs what that decides. It runs no code of the user. Its turn may be on
// the goroutine of a pool's turn, and then that of a caller.
type set struct {
	ref     *SetRef
	m       *setmachine.Machine
	ctx     actor.Context
	mailbox *mailbox
	born    bool

	keys     map[any]*setKey
	byPID    map[string]*setKey
	props    *actor.Props // of all its pools
	spawning *Spec        // that of the pool that is being spawned
	timer    *time.Timer
	past     messages.Measures // of the pools that are gone
	deciding bool
	failure  error // why the key in hand has no pool
}

// setKey is what the set actor keeps for a key.
type setKey struct {
	key     any
	machine *setmachine.Key
	wants   []*wantPool // callers that wait for its pool
	spec    *Spec       // from Made to Spawn
	member  *Member     // of its pool; nil: there is none
	pid     *actor.PID
	process actor.Process
}

// setTick is the message of the timer.
type setTick struct{ epoch uint64 }

// IgnoreDeadLetterLogging marks the message to a set that has ended as no news.
func (*setTick) IgnoreDeadLetterLogging() {}

func newSet(ref *SetRef) *set {
	s := &set{ref: ref, keys: make(map[any]*setKey), byPID: make(map[string]*setKey)}
	s.props = propsOf(func() *Spec { return s.spawning })
	s.m = setmachine.New(setmachine.Config{
		Total: ref.spec.Total, MaxPools: ref.spec.MaxPools, Idle: ref.spec.Idle,
		Look: func(k *setmachine.Key) (uint64, bool) {
			m := k.Owner.(*setKey).member
			if m == nil { // it is about to be made, or is gone
				return ref.board.era.Load(), false
			}
			return m.era.Load(), m.pins.Load() == 0 && m.idle.Load()&1 != 0
		},
	})
	return s
}

// runsOn implements mailboxActor.
func (s *set) runsOn(m *mailbox) { s.mailbox = m }

// receiveStopped implements mailboxActor: whoever waits for an answer sees that the set has
// ended.
func (s *set) receiveStopped(any) {}

// bySystem says that the message in hand is the actor system's.
func (s *set) bySystem() bool { return s.mailbox == nil || s.mailbox.inSystem }

// Receive implements actor.Actor.
func (s *set) Receive(ctx actor.Context) {
	s.ctx = ctx
	now := s.ref.clock.now()
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		if s.bySystem() {
			s.started()
		}
	case *poolReport:
		if !msg.member.gone {
			s.m.Report(now, msg.member.key, msg.report)
		}
	case *wantPool:
		s.want(now, msg)
	case *leftPool:
		s.left(now, msg.want)
	case *madePool:
		s.made(now, msg)
	case *retireAnswer:
		if !msg.member.gone {
			s.retired(now, msg.member, msg.closes)
		}
	case *mayRest:
		s.m.Rested(now)
	case *holdWait:
		s.m.Hold(now, &msg.of.wait, isOut)
	case *unholdWait:
		s.m.Unhold(now, &msg.of.wait)
	case *setTick:
		s.m.Tick(now, msg.epoch)
	case *closeSet:
		s.close(now, msg)
	case *takeSnapshot:
		msg.answer <- s.snapshot()
	case *actor.Terminated:
		if s.bySystem() {
			s.gone(now, msg.Who)
		}
	case *actor.Stopping:
		if s.bySystem() {
			s.stopping()
		}
	case *actor.Stopped:
		if s.bySystem() {
			s.stopped()
		}
		return
	}
	s.perform()
}

func (s *set) started() {
	if s.ref.process != nil { // a set that is restarted has lost its pools
		s.ctx.Stop(s.ctx.Self())
		return
	}
	s.ref.pid = s.ctx.Self()
	s.ref.process, _ = s.ref.system.ProcessRegistry.Get(s.ref.pid)
	s.born = true
}

// want is a caller that asks for the pool of a key.
func (s *set) want(now time.Duration, w *wantPool) {
	k := s.keys[w.key]
	if k == nil {
		k = &setKey{key: w.key, machine: &setmachine.Key{}}
		k.machine.Owner = k
		s.keys[w.key] = k
	}
	if k.member != nil && (k.member == w.not || k.member.ref.isClosed()) {
		// It was closed by somebody else, and says so on its own turn soon.
		s.m.Report(now, k.machine, setmachine.Report{Ending: true})
	}
	k.wants = append(k.wants, w)
	if k.spec != nil {
		w.bound <- k.spec.GetTimeout
	}
	s.m.Want(now, k.machine)
}

// left is a caller that waits no longer.
func (s *set) left(now time.Duration, w *wantPool) {
	k := s.keys[w.key]
	if k == nil {
		return
	}
	for i, other := range k.wants {
		if other == w {
			k.wants = append(k.wants[:i], k.wants[i+1:]...)
			s.m.Left(now, k.machine)
			return
		}
	}
}

// made takes the configuration of a pool.
func (s *set) made(now time.Duration, msg *madePool) {
	k := msg.key.Owner.(*setKey)
	if s.keys[k.key] != k {
		return // the set is closed
	}
	if msg.err != nil {
		s.failure = msg.err
		s.m.Failed(now, k.machine)
		return
	}
	k.spec = &msg.spec
	for _, w := range k.wants {
		select {
		case w.bound <- msg.spec.GetTimeout:
		default:
		}
	}
	s.m.Made(now, k.machine)
}

// retired takes a pool's answer to whether it closes.
func (s *set) retired(now time.Duration, m *Member, closes bool) {
	if !closes {
		m.unseal()
	}
	s.m.Retired(now, m.key, closes)
}

// close closes all pools.
func (s *set) close(now time.Duration, msg *closeSet) {
	s.ref.closeBegun.Store(true)
	var keys []*setmachine.Key
	var members []*Member
	for _, k := range s.keys {
		keys = append(keys, k.machine)
		if k.member != nil {
			members = append(members, k.member)
		}
	}
	s.m.Close(now, keys)
	s.perform()
	msg.answer <- members
}

// gone notes that nothing of a pool is left.
func (s *set) gone(now time.Duration, pid *actor.PID) {
	k := s.byPID[pid.Id]
	if k == nil {
		return
	}
	delete(s.byPID, pid.Id)
	m := k.member
	m.gone = true
	m.pins.Store(pinsSealed)
	s.ref.spec.Withdraw(k.key)
	s.bury(m)
	k.member, k.pid, k.process = nil, nil, nil
	s.m.Gone(now, k.machine)
}

// bury adds what a pool has counted to what those before it have.
func (s *set) bury(m *Member) {
	if last := m.ref.finalMeasures.Load(); last != nil {
		counts := *last
		counts.LongestLease, counts.LongestWait = 0, 0
		st := &counts.Stats
		st.Capacity, st.Open, st.Idle, st.Borrowed, st.InTransition, st.Connecting, st.Closing = 0, 0, 0, 0, 0, 0, 0
		st.Waiting, st.GivenUp, st.MinIdle, st.LastConnectError, st.NextAttempt = 0, 0, 0, nil, time.Time{}
		s.past = SumMeasures(s.past, counts)
	}
}

func (s *set) snapshot() SetSnapshot {
	a := SetSnapshot{Past: s.past, Free: s.m.Free()}
	for _, k := range s.keys {
		a.Waiting += len(k.wants)
		if k.member != nil {
			a.Members = append(a.Members, k.member)
			a.Keys = append(a.Keys, k.key)
		}
	}
	return a
}

// stopping is the end of the set actor, which may come from outside: nobody is left
// waiting for a pool. Its pools stop with it.
func (s *set) stopping() {
	s.ref.closeBegun.Store(true)
	stop(s.timer)
	for _, k := range s.keys {
		s.refuse(k, s.ref.Denial(messages.ErrClosed))
	}
}

func (s *set) stopped() {
	if s.mailbox != nil {
		s.mailbox.stop()
	}
	if s.born {
		last := s.snapshot()
		s.ref.last.Store(&last)
		close(s.ref.ended)
	}
}

// perform carries out what the machine has decided. An effect may have an input as its
// answer, whose effects follow.
func (s *set) perform() {
	if s.deciding {
		return
	}
	s.deciding = true
	for i := 0; i < len(s.m.Effects()); i++ { //nolint:intrange // there will be more
		s.do(s.m.Effects()[i])
	}
	s.m.Done()
	s.deciding = false
	s.failure = nil
}

func (s *set) do(e setmachine.Effect) {
	var k *setKey
	if e.Key != nil {
		k = e.Key.Owner.(*setKey)
	}
	switch e.Kind {
	case setmachine.Make:
		go s.ref.make(e.Key, k.key)
	case setmachine.Spawn:
		s.spawn(k)
	case setmachine.Ready:
		s.ready(k)
	case setmachine.Refuse:
		why := s.failure
		if why == nil {
			why = messages.ErrClosed
		}
		s.refuse(k, s.ref.Denial(why))
	case setmachine.Forget:
		delete(s.keys, k.key)
	case setmachine.Retire:
		if !k.member.seal() {
			s.m.Retired(s.ref.clock.now(), e.Key, false)
			return
		}
		k.process.SendUserMessage(k.pid, &retirePool{k.member})
	case setmachine.ClosePool:
		k.process.SendUserMessage(k.pid, newControl(&control{message: &messages.Close{}}))
	case setmachine.Grant:
		if k.process != nil {
			k.process.SendUserMessage(k.pid, &units{e.Units})
		}
	case setmachine.Post:
		s.post(e.Need)
	case setmachine.Rest:
		s.ref.board.rest.Store(true)
		s.m.Rested(s.ref.clock.now()) // a pool may have come to rest before it could see that
	case setmachine.Unrest:
		s.ref.board.rest.Store(false)
	case setmachine.Era:
		s.ref.board.era.Add(1)
	case setmachine.Deadlock:
		close(e.Wait.Owner.(*holding).deadlock)
	case setmachine.ArmTick:
		stop(s.timer)
		ref, epoch := s.ref, e.Epoch
		s.timer = after(e.At-s.ref.clock.now(), func() { ref.send(&setTick{epoch}) })
	case setmachine.DisarmTick:
		stop(s.timer)
	case setmachine.Stopped:
		s.ctx.Stop(s.ctx.Self())
	}
}

// spawn makes the pool of a key.
func (s *set) spawn(k *setKey) {
	m := &Member{set: s.ref, key: k.machine}
	m.era.Store(s.ref.board.era.Load())
	m.idle.Store(1) // it is at rest
	spec := *k.spec
	k.spec = nil
	spec.member = m
	spec.Policy.Shared = true
	s.spawning = &spec // its pool is initialised within Spawn
	k.pid = s.ctx.Spawn(s.props)
	s.spawning = nil
	k.process, _ = s.ref.system.ProcessRegistry.Get(k.pid)
	k.member = m
	s.byPID[k.pid.Id] = k
	s.ref.spec.Publish(k.key, m)
}

// ready answers those who wait for the pool of a key.
func (s *set) ready(k *setKey) {
	for _, w := range k.wants {
		if w.take() {
			k.member.Pin()
			w.answer <- wantAnswer{member: k.member}
		}
	}
	k.wants = nil
}

func (s *set) refuse(k *setKey, err error) {
	for _, w := range k.wants {
		if w.take() {
			w.answer <- wantAnswer{err: err}
		}
	}
	k.wants = nil
}

// post shows a need to all pools, and wakes those that have an idle connection until one of
// them has claimed it: these have seen an older board at the end of their last turn.
func (s *set) post(n *setmachine.Need) {
	board := &s.ref.board
	if n != s.m.Posted() {
		return // another one follows
	}
	board.need.Store(n)
	if n == nil {
		return
	}
	var idle []*setKey
	s.m.EachHolder(func(k *setmachine.Key) {
		if m := k.Owner.(*setKey).member; m != nil && k != n.Key && m.idle.Load()>>1 > 0 {
			idle = append(idle, k.Owner.(*setKey))
		}
	})
	if len(idle) == 0 {
		return
	}
	board.era.Add(1) // so that the next need finds what was used least recently
	slices.SortFunc(idle, func(a, b *setKey) int { return cmp.Compare(a.member.era.Load(), b.member.era.Load()) })
	for _, k := range idle {
		if board.need.Load() != n {
			return
		}
		k.process.SendUserMessage(k.pid, &lookAround{})
	}
}
