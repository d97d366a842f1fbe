package actors

import (
	"context"
	"log/slog"
	"reflect"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/actorpool/actorpool/actors/internal/machine"
	"github.com/actorpool/actorpool/messages"
)

// Policy is the part of a pool's configuration that the machine knows.
type Policy = machine.Config

// Backoff is the policy of blocking periods.
type Backoff = machine.Backoff

// CoDel is the policy of shedding waits.
type CoDel = machine.CoDel

// BackoffMode says what a pool does with Gets while it backs off.
type BackoffMode = machine.BackoffMode

// The modes of a Backoff, see package client.
const (
	BackoffWait     = machine.BackoffWait
	BackoffFailFast = machine.BackoffFailFast
	BackoffNever    = machine.BackoffNever
)

// Spec is a pool's configuration below the type of its connections. It is
// validated, with every default filled in, by package client.
type Spec struct {
	Policy     Policy
	ConnType   reflect.Type
	Connect    func(ctx context.Context) (any, error)
	Disconnect func(ctx context.Context, conn any) error // nil: nothing to do
	Check      func(ctx context.Context, conn any) error
	Reset      func(ctx context.Context, conn any) error
	Apply      func(ctx context.Context, conn, setting any) error
	Unapply    func(ctx context.Context, conn any) error
	Classify   func(messages.Phase, error) messages.Class
	Broken     func(error) bool
	IsClosed   func(conn any) bool // asked on Put, on the caller's goroutine; nil: connections cannot tell
	Reusable   func(conn any) bool // asked on Put, on the caller's goroutine or in the connector; nil: always true
	OnEvent    func(messages.Event)
	OnChange   func(messages.Event)
	Logger     *slog.Logger
	GetTimeout time.Duration

	LeakGoroutines bool // with LeakAfter: a Get captures the number of its goroutine, too

	Seed uint64 // of the jitter; 0: random

	// MostUnits bounds what a pool of a set has of the set's capacity.
	MostUnits int

	member  *Member // of a set; nil: the pool stands alone
	checked bool    // EventLevel is known: see askLogger
	out     *outbox // of the pool
	clock   clock
	records *atomic.Int64                          // those that wait for the log handler
	labels  map[machine.EffectKind]context.Context // for CPU profiles, by job; nil: see labelsOf
	regions regions
}

// regions are the names of what a program's execution trace shows of the pool.
type regions struct{ wait, use, job string }

// start fills in what belongs to one pool and not to its configuration.
func (s *Spec) start(out *outbox) {
	s.out, s.records = out, &atomic.Int64{}
	s.clock = startClock()
	if s.member != nil {
		s.clock = s.member.set.clock // the pools of a set compare their times
	}
	s.Policy.Start = s.clock.start
	s.Policy.Backlog = maxWaiting
	s.Policy.Coarse = true
	name := "actorpool " + s.Policy.Name
	s.regions = regions{wait: name + ": wait", use: name + ": use", job: name + ": "}
	if s.member == nil {
		s.labels = make(map[machine.EffectKind]context.Context)
		for job := range phases {
			s.labels[job] = s.newLabels(job)
		}
	}
	if !s.checked {
		s.askLogger()
	}
}

// labelsOf gives the labels of a job. The pools of a set make them anew for each job: they
// may be many, and would keep 1 kB each.
func (s *Spec) labelsOf(job machine.EffectKind) context.Context {
	if s.labels == nil {
		return s.newLabels(job)
	}
	return s.labels[job]
}

func (s *Spec) newLabels(job machine.EffectKind) context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels("actorpool", s.Policy.Name, "phase", phases[job]))
}

// askLogger finds out which events anybody listens to. The log handler is code of the
// user, so in a set it is asked before the pool is made.
func (s *Spec) askLogger() {
	s.checked = true
	switch {
	case s.OnEvent != nil || s.enabled(slog.LevelDebug):
		s.Policy.EventLevel = machine.AllEvents
	case s.OnChange != nil:
		s.Policy.EventLevel = machine.ChangeEvents
	case s.enabled(slog.LevelWarn), s.enabled(slog.LevelInfo):
		s.Policy.EventLevel = machine.RareEvents
	}
}

// phases are the names of jobs in profiles and traces.
var phases = map[machine.EffectKind]string{
	machine.Open: "connect", machine.Check: "check", machine.Reset: "reset",
	machine.Apply: "apply", machine.Unapply: "unapply", machine.Disconnect: "disconnect",
}

// enabled asks the log handler whether it wants records of a level. One that panics or
// ends its goroutine does not.
func (s *Spec) enabled(level slog.Level) (wanted bool) {
	if s.Logger == nil {
		return false
	}
	_ = contain(func() { wanted = s.Logger.Enabled(context.Background(), level) })
	return wanted
}

// log writes a record, if there is a Logger. It does not wait: a log handler is code of
// the user, and one that panics, blocks or ends its goroutine must take with it neither
// a job's report nor a connector (T3).
func (s *Spec) log(level slog.Level, msg string, args ...any) {
	if s.Logger != nil {
		s.logTo(s.Logger, level, msg, args...)
	}
}

// logPanic writes that a function of the user has panicked, and that nobody else is
// told of: to the default Logger if the pool has none.
func (s *Spec) logPanic(msg string, failure *messages.PanicError, args ...any) {
	logger := s.Logger
	if logger == nil {
		logger = slog.Default()
	}
	s.logTo(logger, slog.LevelWarn, msg, append(args, "error", failure, "stack", string(failure.Stack))...)
}

// maxRecords bounds the records that wait for a log handler. What is beyond is dropped.
const maxRecords = 1024

func (s *Spec) logTo(logger *slog.Logger, level slog.Level, msg string, args ...any) {
	if s.records.Add(1) > maxRecords {
		s.records.Add(-1)
		return
	}
	s.out.send("log", func() {
		defer s.records.Add(-1)
		logger.Log(context.Background(), level, msg, append(args, "pool", s.Policy.Name)...)
	})
}

// classifyFailure asks the user's Classify; if that panics, the error counts as one
// that the pool does not know.
func (s *Spec) classifyFailure(phase messages.Phase, err error) (class messages.Class) {
	defer func() {
		if reason := recover(); reason != nil {
			s.logPanic("Panic in Classify", &messages.PanicError{Value: reason, Stack: debug.Stack()}, "panic", reason)
			class = messages.ClassOverload
		}
	}()
	return s.Classify(phase, err)
}
