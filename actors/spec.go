package actors

import (
	"context"
	"log/slog"
	"reflect"
	"runtime/debug"
	"runtime/pprof"
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
	OnEvent    func(messages.Event)
	Logger     *slog.Logger
	GetTimeout time.Duration

	clock   clock
	labels  map[machine.EffectKind]context.Context // for CPU profiles, by job
	regions regions
}

// regions are the names of what a program's execution trace shows of the pool.
type regions struct{ wait, use, job string }

// start fills in what belongs to one pool and not to its configuration.
func (s *Spec) start() {
	s.clock = startClock()
	s.Policy.Start = s.clock.start
	s.Policy.Backlog = maxWaiting
	s.Policy.Coarse = true
	name := "actorpool " + s.Policy.Name
	s.regions = regions{wait: name + ": wait", use: name + ": use", job: name + ": "}
	s.labels = make(map[machine.EffectKind]context.Context)
	for job, phase := range phases {
		s.labels[job] = pprof.WithLabels(context.Background(), pprof.Labels("actorpool", s.Policy.Name, "phase", phase))
	}
	switch {
	case s.OnEvent != nil || s.enabled(slog.LevelDebug):
		s.Policy.EventLevel = machine.AllEvents
	case s.enabled(slog.LevelWarn), s.enabled(slog.LevelInfo):
		s.Policy.EventLevel = machine.RareEvents
	}
}

// phases are the names of jobs in profiles and traces.
var phases = map[machine.EffectKind]string{
	machine.Open: "connect", machine.Check: "check", machine.Reset: "reset",
	machine.Apply: "apply", machine.Unapply: "unapply", machine.Disconnect: "disconnect",
}

func (s *Spec) enabled(level slog.Level) bool {
	return s.Logger != nil && s.Logger.Enabled(context.Background(), level)
}

func (s *Spec) log(level slog.Level, msg string, args ...any) {
	if s.enabled(level) {
		s.Logger.Log(context.Background(), level, msg, append(args, "pool", s.Policy.Name)...)
	}
}

// logPanic warns of a panic in a function of the configuration.
func (s *Spec) logPanic(phase string, failure *messages.PanicError) {
	s.log(slog.LevelWarn, "Panic in user code", "phase", phase, "error", failure, "stack", string(failure.Stack))
}

// classifyFailure asks the user's Classify; if that panics, the error counts as one
// that the pool does not know.
func (s *Spec) classifyFailure(phase messages.Phase, err error) (class messages.Class) {
	defer func() {
		if reason := recover(); reason != nil {
			s.log(slog.LevelWarn, "Panic in Classify", "panic", reason, "stack", string(debug.Stack()))
			class = messages.ClassOverload
		}
	}()
	return s.Classify(phase, err)
}
