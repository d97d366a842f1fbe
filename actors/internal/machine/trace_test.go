// The traces: histories of a pool in testdata, which show what it does and are easy
// to read. An incident can be replayed as one.

package machine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/actorpool/actorpool/messages"
)

var tracesFlag = flag.String("traces", "testdata/*.txt", "the traces that TestTraces runs")

// TestTraces runs the traces in testdata, or those that the flag -traces names, each in a world that checks every step. A
// trace is a list of inputs, each with its output below it; -rewrite writes the
// outputs anew. The inputs:
//
//	new key=val...             start a pool; the options are in trace.start
//	get NAME                   a Get, by the fast path first; setting= label= deadline=
//	                           timeout= reserve= session=
//	get NAME ended=cancel      a Get whose context has ended; or ended=timeout
//	get NAME borrower=B        a Get of an actor
//	borrower-gone B            the actor has stopped
//	cancel-get NAME cancel     the caller leaves; or timeout
//	decline NAME cancel        the caller has left when it was granted; or timeout
//	get-another NAME           the caller of NAME refuses its connection, which is closed
//	connector-lost c1          the connector of c1 is no more
//	holds NAME OTHER...        the caller of NAME holds the leases of OTHER...
//	lease-lost NAME            nobody can return the lease of NAME any more
//	put NAME, taint NAME       the lease of NAME is returned; cause=, dead
//	put-unasked NAME           the same by message
//	connected c1               Open has succeeded
//	failed c1                  Open has failed; err= class=
//	checked c1, reset c1       Check, Reset is done; err= if it has failed
//	applied c1, unapplied c1   Apply, Unapply is done; err= if it has failed
//	disconnected c1            Disconnect is done
//	set-capacity T n           note=
//	close T, ready T, cancel-control T
//	clear                      interrupt err=
//	suspend, resume, health-ok
//	backoff-elapsed, tick      the armed timer comes; epoch=n: the timer of that epoch
//	record R max=n             begin a recording, of n Gets at most; end-recording R ends it
//	recording R                what has been recorded, when it is over
//	explain                    what Explain says, without conns and recent events
//	explain conns              the connections; recent: the events
//	describe D at-once=n       begin to describe the pool, n slots on a turn, or go on with
//	                           it; at the end, its holders and connections
//	longest-lease              how long the longest lease has lasted at least
//	health                     what Health says
//	stats                      Stats without the counters; stats all: with them
//
// Every input takes t=, the time at which it comes, counted from the start. Without
// it a timer comes when it is due. The output is the effects, then the events, each
// with a ~ in front. "TryGet" and "TryPut" say that a fast path has decided alone.
// "c1 is idle" and "a waits" say what no effect says. ArmTick and DisarmTick are
// shown with the option ticks, and errors in full with the option errors. With the
// option quiet events are checked, and not shown. With the option fast a Get that waits
// and a Put while others wait use the fast paths, too, as they do in a real pool.
func TestTraces(t *testing.T) {
	paths, err := filepath.Glob(*tracesFlag)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			tr := &trace{t: t}
			datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
				tr.d = d
				if d.Cmd != "new" && tr.world == nil {
					tr.Fatalf("the first input must be new")
				}
				return tr.run()
			})
		})
	}
}

// trace is one file of testdata, as far as it has run.
type trace struct {
	t         *testing.T
	d         *datadriven.TestData // the input that is running
	world     *world
	showTicks bool
	quiet     bool
	gets      map[string]*get
	tickets   map[string]*ticket
	visitors  map[string]*visitor

	recordings   map[string]*recorded
	descriptions map[string]*described // that are under way
}

// Fatalf fails the test at the line of the input that is running.
func (tr *trace) Fatalf(format string, args ...any) {
	tr.t.Helper()
	tr.d.Fatalf(tr.t, format, args...)
}

func (tr *trace) Helper() { tr.t.Helper() }

// run runs one input and gives its output.
func (tr *trace) run() string {
	if tr.d.Cmd == "new" {
		return tr.start()
	}
	w := tr.world
	if tr.d.HasArg("t") {
		at := tr.duration("t")
		if at < w.now {
			tr.Fatalf("time runs backwards")
		}
		w.now = at
	}
	for _, v := range tr.visitors { // its leases have names, too
		for i, g := range v.visits {
			tr.gets[fmt.Sprintf("%s-%d", v.name, i+1)] = g
		}
	}
	switch tr.d.Cmd {
	case "stats":
		return tr.stats()
	case "measures":
		return tr.measures()
	case "health":
		return tr.health()
	case "explain":
		return tr.explain()
	case "describe":
		return tr.describe()
	case "longest-lease":
		return w.m.longestLeaseAt(w.now).String()
	case "get":
		return tr.get()
	case "put", "put-unasked", "taint":
		return tr.putOrTaint()
	case "connected", "failed", "checked", "reset", "applied", "unapplied", "disconnected":
		return tr.report()
	}
	w.controlErr = nil
	switch tr.d.Cmd {
	case "cancel-get":
		g := tr.gets[tr.word(0)]
		if g == nil {
			tr.Fatalf("no Get of that name")
		}
		w.cancelGet(g, tr.contextError(tr.word(1)))
	case "decline":
		g := tr.gets[tr.word(0)]
		if g == nil || g.lease == nil {
			tr.Fatalf("nothing to decline")
		}
		w.decline(g, tr.contextError(tr.word(1)))
		return tr.output(strings.TrimSpace(g.name + ": " + w.shortError(g.err) + "\n" + tr.idle(g.lease.conn)))
	case "get-another":
		w.getAnother(tr.gets[tr.word(0)])
	case "connector-lost":
		w.connectorLost(tr.conn())
	case "borrower-gone":
		w.borrowerGone(tr.borrower(tr.word(0)), messages.ErrBorrowerGone)
	case "holds":
		var held []*lease
		for _, arg := range tr.d.CmdArgs[1:] {
			if g := tr.gets[arg.Key]; g != nil && arg.Key != "t" {
				held = append(held, g.lease)
			}
		}
		w.holds(tr.gets[tr.word(0)], held)
	case "lease-lost":
		w.leaseLost(tr.gets[tr.word(0)].lease)
	case "set-capacity":
		w.setCapacity(tr.ticket(), tr.integer(1), tr.optional("note"))
	case "close":
		w.close(tr.ticket())
	case "ready":
		w.ready(tr.ticket())
	case "warm":
		w.warm(tr.ticket(), tr.integer(1))
	case "set-min-idle":
		w.setMinIdle(tr.integer(0))
	case "hijack":
		g := tr.gets[tr.word(0)]
		if !w.hijack(g.lease) {
			return tr.output("the lease has ended")
		}
		return tr.output(fmt.Sprintf("c%d is the caller's", g.lease.id))
	case "lend-idle":
		var lines []string
		for _, g := range w.lendIdle(tr.word(0)) {
			tr.gets[g.name] = g
			lines = append(lines, fmt.Sprintf("c%d/%d -> %s", g.lease.id, g.lease.epoch, g.name))
		}
		return tr.output(strings.Join(lines, "\n"))
	case "visit":
		v := &visitor{name: tr.word(0)}
		tr.visitors[v.name] = v
		w.beginVisit(v)
	case "next-visit":
		v := tr.visitors[tr.word(0)]
		w.nextVisit(v)
		if v.waits {
			return tr.output(v.name + " waits")
		}
	case "end-visit":
		w.endVisit(tr.visitors[tr.word(0)])
	case "info":
		g := tr.gets[tr.word(0)]
		info, ok := w.m.LeaseInfo(w.now, g.lease.slot, g.lease.id, g.lease.epoch)
		if !ok {
			return "the lease has ended"
		}
		return fmt.Sprintf("c%d %v, use %d, waited %v, was idle for %v, is %v old", info.ConnID, info.Path, info.Uses, info.Wait, info.Idle, info.Age)
	case "record":
		r := &recorded{Recording: Recording{Max: 1000}}
		if tr.d.HasArg("max") {
			r.Max = tr.number("max")
		}
		tr.recordings[tr.word(0)] = r
		w.record(r)
	case "end-recording":
		w.endRecording(tr.recordings[tr.word(0)])
	case "recording":
		return tr.recording(tr.recordings[tr.word(0)])
	case "cancel-control":
		w.cancelControl(tr.tickets[tr.word(0)], context.DeadlineExceeded)
	case "clear":
		w.clear(tr.err("err", ""), tr.d.HasArg("interrupt"))
	case "suspend":
		w.suspend()
	case "resume":
		w.resume()
	case "health-ok":
		w.healthOK()
	case "backoff-elapsed":
		w.backoffElapsed(tr.timer(w.backoff))
	case "tick":
		w.tickElapsed(tr.timer(w.tick))
	default:
		tr.Fatalf("no such input")
	}
	if w.controlErr != nil {
		return tr.output("refused: " + w.shortError(w.controlErr))
	}
	return tr.output("")
}

// start starts a pool. The options are the fields of Config, with the defaults that
// are given here.
func (tr *trace) start() string {
	cfg := Config{
		Name:           "pool",
		Start:          time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		MaxConnecting:  2,
		CheckAfterIdle: time.Second,
		ConnectTimeout: 10 * time.Second,

		CheckTimeout:      time.Second,
		DisconnectTimeout: time.Second,

		Unapply: true,
		Backoff: Backoff{Base: 5 * time.Second, Cap: time.Minute},
	}
	random := 0.0
	fullErrors, fast := false, false
	tr.showTicks, tr.quiet = false, false
	var source *rand.Rand
	for _, arg := range tr.d.CmdArgs {
		switch arg.Key {
		case "capacity":
			cfg.Capacity = tr.number(arg.Key)
		case "min-idle":
			cfg.MinIdle = tr.number(arg.Key)
		case "max-idle":
			cfg.MaxIdle = tr.number(arg.Key)
		case "max-connecting":
			cfg.MaxConnecting = tr.number(arg.Key)
		case "min-open":
			cfg.MinOpen = tr.number(arg.Key)
		case "max-uses":
			cfg.MaxUses = tr.number(arg.Key)
		case "max-waiters":
			cfg.MaxWaiters = tr.number(arg.Key)
		case "pause-on-clear":
			cfg.PauseOnClear = true
		case "check":
			cfg.Check = true
		case "check-after-idle":
			cfg.Check, cfg.CheckAfterIdle = true, tr.duration(arg.Key)
		case "reset":
			cfg.Reset = true
		case "reusable":
			cfg.Reusable = true
		case "reset-wipes":
			cfg.Reset, cfg.ResetWipes = true, true
		case "no-unapply":
			cfg.Unapply = false
		case "keep-alive":
			cfg.Check, cfg.KeepAlive = true, tr.duration(arg.Key)
		case "idle-timeout":
			cfg.IdleTimeout = tr.duration(arg.Key)
		case "max-lifetime":
			cfg.MaxLifetime = tr.duration(arg.Key)
		case "lifetime-jitter":
			cfg.LifetimeJitter = tr.duration(arg.Key)
		case "connect-timeout":
			cfg.ConnectTimeout = tr.duration(arg.Key)
		case "check-timeout":
			cfg.Check, cfg.CheckTimeout = true, tr.duration(arg.Key)
		case "disconnect-timeout":
			cfg.DisconnectTimeout = tr.duration(arg.Key)
		case "leak-after":
			cfg.LeakAfter = tr.duration(arg.Key)
		case "max-lease":
			cfg.MaxLease = tr.duration(arg.Key)
		case "shed-hopeless":
			cfg.ShedHopeless = true
		case "codel":
			cfg.CoDel.Target = tr.duration(arg.Key)
			cfg.CoDel.Interval = 10 * cfg.CoDel.Target
		case "codel-interval":
			cfg.CoDel.Interval = tr.duration(arg.Key)
		case "base":
			cfg.Backoff.Base = tr.duration(arg.Key)
		case "cap":
			cfg.Backoff.Cap = tr.duration(arg.Key)
		case "jitter", "random":
			x, err := strconv.ParseFloat(tr.value(arg.Key), 64)
			if err != nil {
				tr.Fatalf("%v", err)
			}
			if arg.Key == "random" {
				random = x
			} else {
				cfg.Backoff.Jitter = x
			}
		case "mode":
			cfg.Backoff.Mode = oneOf(tr, map[string]BackoffMode{"wait": BackoffWait, "fail-fast": BackoffFailFast, "never": BackoffNever})
		case "coarse":
			cfg.Coarse = true
		case "events":
			cfg.EventLevel = oneOf(tr, map[string]EventLevel{"all": AllEvents, "rare": RareEvents, "changes": ChangeEvents}, "events")
		case "ticks":
			tr.showTicks = true
		case "fast":
			fast = true
		case "quiet":
			tr.quiet = true
		case "seed": // the random numbers of a pool with that Seed
			source = rand.New(rand.NewPCG(uint64(tr.number(arg.Key)), 0))
		case "errors":
			fullErrors = true
		default:
			tr.Fatalf("no such option: %s", arg.Key)
		}
	}
	cfg.Random = func() float64 { return random }
	if source != nil {
		cfg.Random = source.Float64
	}
	tr.descriptions, tr.recordings = map[string]*described{}, map[string]*recorded{}
	tr.gets, tr.tickets, tr.visitors = map[string]*get{}, map[string]*ticket{}, map[string]*visitor{}
	tr.world = newWorld(tr, cfg)
	tr.world.fullErrors, tr.world.fastPaths = fullErrors, fast
	return tr.output("")
}

// integer gives an argument that is a number.
func (tr *trace) integer(i int) int {
	n, err := strconv.Atoi(tr.word(i))
	if err != nil {
		tr.Fatalf("%v", err)
	}
	return n
}

// oneOf gives the value that an option names.
func oneOf[T any](tr *trace, of map[string]T, key ...string) T {
	v, ok := of[tr.value(append(key, "mode")[0])]
	if !ok {
		tr.Fatalf("no such value")
	}
	return v
}

// get asks for a connection.
func (tr *trace) get() string {
	w, name := tr.world, tr.word(0)
	if g := tr.gets[name]; g != nil && !g.ended() {
		tr.Fatalf("%s waits already", name)
	}
	g := &get{name: name}
	tr.gets[name] = g
	if w.cfg.EventLevel == AllEvents && !tr.quiet {
		g.Label = name
	}
	if tr.d.HasArg("label") {
		g.Label = tr.value("label")
	}
	if tr.d.HasArg("setting") {
		g.Setting = tr.value("setting")
	}
	if tr.d.HasArg("deadline") {
		g.Deadline = tr.duration("deadline")
	}
	if tr.d.HasArg("timeout") {
		g.Timeout = tr.duration("timeout")
	}
	if tr.d.HasArg("session") {
		g.Session = uint64(tr.number("session"))
	}
	if tr.d.HasArg("reserve") {
		g.Reserve = tr.duration("reserve")
		g.Deadline -= g.Reserve
	}
	if tr.d.HasArg("borrower") {
		g.actor = tr.borrower(tr.value("borrower"))
		g.Borrower = &g.actor.Borrower
	}
	if tr.d.HasArg("ended") {
		w.rejectGet(g, tr.contextError(tr.value("ended")))
		return tr.output("")
	}
	if w.get(g) {
		return tr.output(fmt.Sprintf("TryGet c%d/%d -> %s", g.lease.id, g.lease.epoch, name))
	}
	switch {
	case !g.ended() && g.slot == nil:
		return tr.output(fmt.Sprintf("%s waits", name))
	case !g.ended() && len(w.effects) == 0:
		return tr.output(fmt.Sprintf("%s waits for c%d", name, g.slot.ID))
	}
	return tr.output("")
}

// borrower gives the actor of that name.
func (tr *trace) borrower(name string) *borrower {
	for _, b := range tr.world.actors {
		if b.name == name {
			return b
		}
	}
	b := &borrower{name: name}
	b.Owner = b
	tr.world.actors = append(tr.world.actors, b)
	return b
}

// explain shows what Explain says.
func (tr *trace) explain() string {
	e := tr.world.explain()
	switch {
	case tr.d.HasArg("conns"):
		return listed(e.Conns, connInWords)
	case tr.d.HasArg("recent"):
		return listed(e.Recent, func(e messages.Event) string {
			return fmt.Sprintf("%d %v %s", e.Seq, e.Time.Sub(tr.world.cfg.Start), tr.event(e))
		})
	}
	e.Recent = nil
	return strings.TrimSpace(e.String())
}

// describe begins a description, or goes on with it.
func (tr *trace) describe() string {
	d := tr.descriptions[tr.word(0)]
	if d == nil {
		d = &described{Description: Description{atOnce: tr.number("at-once")}}
		tr.descriptions[tr.word(0)] = d
	}
	if !tr.world.describeOn(d) {
		return "to be continued"
	}
	delete(tr.descriptions, tr.word(0))
	e := d.Explanation()
	return listed(e.Holders, messages.Holder.String) + "\n" + listed(e.Conns, connInWords)
}

// listed gives one line for each item.
func listed[T any](items []T, inWords func(T) string) string {
	lines := []string{}
	for _, item := range items {
		lines = append(lines, inWords(item))
	}
	if len(lines) == 0 {
		return "none"
	}
	return strings.Join(lines, "\n")
}

// connInWords describes a connection in a line.
func connInWords(c messages.Conn) string {
	text := fmt.Sprintf("c%d %s for %v", c.ID, c.State, c.In)
	if c.AtLeast {
		text = fmt.Sprintf("c%d %s for at least %v", c.ID, c.State, c.In)
	}
	text += fmt.Sprintf(", %v old, use %d", c.Age, c.Uses)
	if c.Label != "" {
		text += ", " + c.Label
	}
	if c.Left != 0 {
		text += fmt.Sprintf(", %v left", c.Left)
	}
	if c.Generation != 0 {
		text += fmt.Sprintf(", generation %d", c.Generation)
	}
	if c.Setting != nil {
		text += fmt.Sprintf(", with %v", c.Setting)
	}
	return text
}

// health shows Health, with its times counted from the start.
func (tr *trace) health() string {
	h := tr.world.m.Health()
	text := fmt.Sprintf("%v: ok %v, since %v", h.State, h.OK, h.Since.Sub(tr.world.cfg.Start))
	if h.Attempt > 0 {
		text += fmt.Sprintf(", attempt %d", h.Attempt)
	}
	if !h.NextAttempt.IsZero() {
		text += fmt.Sprintf(", next at %v", h.NextAttempt.Sub(tr.world.cfg.Start))
	}
	if h.CapacityNote != "" {
		text += ", note: " + h.CapacityNote
	}
	if h.LastError != nil {
		text += ", last error: " + h.LastError.Error()
	}
	return text
}

// putOrTaint ends a lease.
func (tr *trace) putOrTaint() string {
	g := tr.gets[tr.word(0)]
	if g == nil || g.lease == nil {
		tr.Fatalf("nothing to return")
	}
	var fast, ok bool
	switch tr.d.Cmd {
	case "put":
		fast, ok = tr.world.put(g.lease)
	case "put-unasked":
		ok = tr.world.putUnasked(g.lease)
	default:
		ok = tr.world.taint(g.lease, tr.err("cause", ""), tr.d.HasArg("dead"))
	}
	switch {
	case fast:
		return tr.output(fmt.Sprintf("TryPut c%d", g.lease.id))
	case !ok:
		return tr.output("the lease has ended")
	}
	return tr.output(tr.idle(g.lease.conn))
}

// report ends the job of a connection.
func (tr *trace) report() string {
	w, c := tr.world, tr.conn()
	switch tr.d.Cmd {
	case "connected":
		w.connected(c)
	case "failed":
		class := messages.ClassOverload
		if tr.d.HasArg("class") {
			class = oneOf(tr, map[string]messages.Class{
				"overload": messages.ClassOverload, "fatal": messages.ClassFatal, "clear": messages.ClassClear, "ignore": messages.ClassIgnore,
			}, "class")
		}
		w.connectFailed(c, tr.err("err", "server down"), class)
	case "checked":
		w.checked(c, tr.err("err", ""))
	case "reset":
		w.wasReset(c, tr.err("err", ""))
	case "applied":
		w.applied(c, tr.err("err", ""))
	case "unapplied":
		w.unapplied(c, tr.err("err", ""))
	case "disconnected":
		w.disconnected(c)
	}
	return tr.output(tr.idle(c))
}

// conn gives the connection that the input names.
func (tr *trace) conn() *conn {
	for _, c := range tr.world.conns {
		if fmt.Sprintf("c%d", c.id) == tr.word(0) {
			return c
		}
	}
	tr.Fatalf("no such connection")
	return nil
}

// idle says that a connection is idle now, which no effect says.
func (tr *trace) idle(c *conn) string {
	if slices.Contains(tr.world.idle, c) {
		return fmt.Sprintf("c%d is idle", c.id)
	}
	return ""
}

// output is the effects and events of the last step, below a first line.
func (tr *trace) output(first string) string {
	var lines []string
	if first != "" {
		lines = append(lines, first)
	}
	for _, e := range tr.world.effects {
		if tr.showTicks || !strings.Contains(e, "Tick") {
			lines = append(lines, e)
		}
	}
	for _, e := range tr.world.events {
		if !tr.quiet {
			lines = append(lines, "~ "+tr.event(e))
		}
	}
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n")
}

// event gives an event in words.
func (tr *trace) event(e messages.Event) string {
	out := []string{e.Kind.String()}
	add := func(show bool, format string, args ...any) {
		if show {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(e.ConnID != 0, "c%d", e.ConnID)
	add(e.Label != "", "%s", e.Label)
	add(e.Setting != nil, "with %v", e.Setting)
	add(e.Reason != 0, "(%v)", e.Reason)
	add(e.Duration != 0, "after %v", e.Duration)
	add(e.Attempt != 0, "attempt %d", e.Attempt)
	add(e.Class != 0, "class %v", e.Class)
	add(e.Interrupt, "interrupt")
	add(e.Kind == messages.PoolCleared, "generation %d", e.Generation)
	add(e.Kind == messages.CapacityChanged, "%d to %d", e.From, e.To)
	add(e.Kind == messages.PoolCreated, "capacity %d", e.To)
	if e.Err != nil {
		add(true, "- %s", tr.world.shortError(e.Err))
	}
	return strings.Replace(strings.Join(out, " "), "PoolBackoff after", "PoolBackoff for", 1)
}

// ticket makes a control request with the name that the input gives.
func (tr *trace) ticket() *ticket {
	t := &ticket{name: tr.word(0)}
	t.Owner = t
	tr.tickets[t.name] = t
	return t
}

// timer gives the epoch of the timer that comes: that of the input, or that of the
// armed timer. The armed timer comes when it is due, unless the input gives a time.
func (tr *trace) timer(t timer) uint64 {
	for _, arg := range tr.d.CmdArgs {
		if arg.Key == "epoch" {
			return uint64(tr.number("epoch"))
		}
	}
	switch {
	case !t.armed:
		tr.Fatalf("no timer is armed")
	case !tr.d.HasArg("t"):
		tr.world.now = max(tr.world.now, t.at)
	case tr.world.now < t.at:
		tr.Fatalf("the timer is armed for %v", t.at)
	}
	return t.epoch
}

// The arguments of the input that is running.

func (tr *trace) word(i int) string {
	if i >= len(tr.d.CmdArgs) {
		tr.Fatalf("an argument is missing")
	}
	return tr.d.CmdArgs[i].Key
}

func (tr *trace) value(key string) string {
	arg, ok := tr.d.Arg(key)
	if !ok {
		tr.Fatalf("%s is missing", key)
	}
	return arg.SingleVal(tr.t)
}

func (tr *trace) number(key string) int {
	n, err := strconv.Atoi(tr.value(key))
	if err != nil {
		tr.Fatalf("%v", err)
	}
	return n
}

func (tr *trace) duration(key string) time.Duration {
	d, err := time.ParseDuration(tr.value(key))
	if err != nil {
		tr.Fatalf("%v", err)
	}
	return d
}

// err is the error that the input gives, otherwise one with the given text; without a
// text it is nil.
// optional is the value of an option that may be left out.
func (tr *trace) optional(key string) string {
	if !tr.d.HasArg(key) {
		return ""
	}
	return tr.value(key)
}

func (tr *trace) err(key, text string) error {
	if tr.d.HasArg(key) {
		text = tr.value(key)
	}
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func (tr *trace) contextError(word string) error {
	switch word {
	case "timeout":
		return context.DeadlineExceeded
	case "cancel":
		return context.Canceled
	}
	tr.Fatalf("want timeout or cancel")
	return nil
}
