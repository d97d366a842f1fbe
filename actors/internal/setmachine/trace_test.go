// The traces: histories of a set in testdata, which show how units and places move and are
// easy to read.

package setmachine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTraces runs the traces in testdata, and checks the invariants after each input. A
// trace is a list of inputs, each with its output below it; -rewrite writes the outputs
// anew. The pools are not there: a trace says what they report. The inputs:
//
//	new total=n                    start a set; max-pools= idle=
//	want KEY, left KEY             a caller asks for the pool of KEY, or waits no longer
//	made KEY, failed KEY           New has returned a Config, or has failed
//	open KEY...                    want and made of each; their effects are not shown
//	report KEY wants=n oldest=     the pool of KEY could use n more units, since when;
//	                               returned=n: it gives back so many; claimed: one more
//	                               will follow, for the need that is posted; claimed=B: for
//	                               the last need of B; received=n: so many units had come
//	                               when it was sent, by default all; ending: it closes
//	takes capacity=n waits=        does the posted need take a unit of such a pool? waits= is
//	                               since when its first caller waits; without it none does
//	use KEY                        the pool is used now; busy: and is not at rest
//	rested                         a pool has come to rest
//	retired KEY, retired KEY busy  the answer to Retire
//	gone KEY                       nothing of the pool is left
//	tick                           the timer comes, when it is due
//	hold W LEASE...                the caller W, who has these leases, waits; unhold W
//	returned LEASE                 a lease has ended
//	close
//	units                          where the units are
//
// Every input takes t=, the time at which it comes. The output is the effects, without Era
// and the timer's.
func TestTraces(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			tr := &trace{}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				tr.t, tr.d = t, d
				return tr.run()
			})
		})
	}
}

// trace is one file of testdata, as far as it has run.
type trace struct {
	t     *testing.T
	d     *datadriven.TestData // the input that is running
	m     *Machine
	now   time.Duration
	era   uint64
	keys  map[string]*tracedKey
	needs map[string]*Need // the last of each key
	waits map[string]*Wait
	ended map[any]bool // leases
	tick  Effect
	lines []string
}

type tracedKey struct {
	name string
	key  Key
	era  uint64
	busy bool
}

func (tr *trace) run() string {
	tr.lines = nil
	if tr.d.HasArg("t") {
		tr.now = tr.duration("t")
	}
	if tr.d.Cmd == "new" {
		tr.start()
	} else {
		tr.input()
	}
	tr.perform()
	if len(tr.lines) == 0 {
		return "nothing"
	}
	return strings.Join(tr.lines, "\n")
}

func (tr *trace) start() {
	cfg := Config{Total: tr.number("total", 0), MaxPools: tr.number("max-pools", 0)}
	if tr.d.HasArg("idle") {
		cfg.Idle = tr.duration("idle")
	}
	cfg.Look = func(k *Key) (uint64, bool) {
		owner := k.Owner.(*tracedKey)
		return owner.era, !owner.busy
	}
	*tr = trace{
		t: tr.t, d: tr.d, m: New(cfg), now: tr.now, era: 1, keys: map[string]*tracedKey{}, needs: map[string]*Need{},
		waits: map[string]*Wait{}, ended: map[any]bool{},
	}
}

func (tr *trace) input() {
	switch tr.d.Cmd {
	case "want":
		tr.m.Want(tr.now, tr.add(tr.word(0)))
	case "left":
		tr.m.Left(tr.now, tr.key(tr.word(0)))
	case "made":
		tr.m.Made(tr.now, tr.key(tr.word(0)))
	case "failed":
		tr.m.Failed(tr.now, tr.key(tr.word(0)))
	case "open":
		for _, arg := range tr.d.CmdArgs {
			if len(arg.Vals) == 0 {
				tr.m.Want(tr.now, tr.add(arg.Key))
				tr.m.Made(tr.now, tr.key(arg.Key))
			}
		}
		tr.perform()
		tr.lines = nil
	case "report":
		tr.report()
	case "takes":
		oldest := time.Duration(0)
		if tr.d.HasArg("waits") {
			oldest = tr.duration("waits")
		}
		tr.say("%v", tr.m.Posted().Takes(tr.number("capacity", 0), tr.d.HasArg("waits"), oldest))
	case "use":
		k := tr.owner(tr.word(0))
		k.era, k.busy = tr.era, tr.d.HasArg("busy")
	case "rested":
		tr.m.Rested(tr.now)
	case "retired":
		tr.m.Retired(tr.now, tr.key(tr.word(0)), !tr.d.HasArg("busy"))
	case "gone":
		tr.m.Gone(tr.now, tr.key(tr.word(0)))
	case "tick":
		tr.now = max(tr.now, tr.tick.At)
		tr.m.Tick(tr.now, tr.tick.Epoch)
	case "hold":
		w := &Wait{Owner: tr.word(0)}
		for _, lease := range tr.d.CmdArgs[1:] {
			w.Leases = append(w.Leases, lease.Key)
		}
		tr.waits[tr.word(0)] = w
		tr.m.Hold(tr.now, w, func(lease any) bool { return !tr.ended[lease] })
	case "unhold":
		tr.m.Unhold(tr.now, tr.waits[tr.word(0)])
	case "returned":
		tr.ended[tr.word(0)] = true
	case "close":
		var keys []*Key
		for _, name := range tr.names() {
			keys = append(keys, tr.key(name))
		}
		tr.m.Close(tr.now, keys)
	case "units":
		tr.units()
	default:
		tr.d.Fatalf(tr.t, "no such input")
	}
}

// report is what a pool says.
func (tr *trace) report() {
	k := tr.key(tr.word(0))
	r := Report{
		Received: tr.number("received", k.received), Returned: tr.number("returned", 0),
		Wants: tr.number("wants", 0), Ending: tr.d.HasArg("ending"),
	}
	if tr.d.HasArg("oldest") {
		r.Oldest = tr.duration("oldest")
	}
	if arg, ok := tr.d.Arg("claimed"); ok {
		r.Claimed = tr.m.Posted()
		if len(arg.Vals) > 0 {
			r.Claimed = tr.needs[arg.Vals[0]]
		}
		if r.Claimed == nil {
			tr.d.Fatalf(tr.t, "there is no such need")
		}
	}
	tr.m.Report(tr.now, k, r)
}

// perform writes down what the machine has decided, and checks it.
func (tr *trace) perform() {
	for _, e := range tr.m.Effects() {
		name := ""
		if e.Key != nil {
			name = e.Key.Owner.(*tracedKey).name
		}
		switch e.Kind {
		case Era:
			tr.era++
		case ArmTick:
			tr.tick = e
		case DisarmTick:
		case Grant:
			tr.say("Grant %d to %s", e.Units, name)
		case Post:
			tr.say("%s", tr.need(e.Need))
		case Deadlock:
			tr.say("Deadlock %v", e.Wait.Owner)
		case Forget:
			delete(tr.keys, name)
			tr.say("Forget %s", name)
		case Spawn:
			e.Key.Owner.(*tracedKey).era = tr.era
			tr.say("Spawn %s", name)
		default:
			tr.say("%s", strings.TrimSpace(e.Kind.String()+" "+name))
		}
	}
	tr.m.Done()
	if err := tr.m.CheckInvariants(); err != nil {
		tr.d.Fatalf(tr.t, "%v", err)
	}
}

// need describes a need.
func (tr *trace) need(n *Need) string {
	if n == nil {
		return "Post nothing"
	}
	name := n.Key.Owner.(*tracedKey).name
	tr.needs[name] = n
	text := fmt.Sprintf("Post %s waits since %v, ", name, n.Oldest)
	switch l := n.Level; {
	case !l.Scarce:
		text += "all demands can be met"
	case l.Part:
		text += fmt.Sprintf("a share is %d to %d", l.Units, l.Units+1)
	default:
		text += fmt.Sprintf("a share is %d", l.Units)
	}
	if !n.Busy {
		text += ", idle connections only"
	}
	return text
}

// units says where the units are.
func (tr *trace) units() {
	for _, name := range tr.names() {
		if k := tr.key(name); k.state.hasPool() {
			tr.say("%s holds %d, %d coming, wants %d", name, k.holds, len(k.coming), k.wants)
		}
	}
	tr.say("%d free", tr.m.Free())
}

func (tr *trace) say(format string, args ...any) {
	tr.lines = append(tr.lines, fmt.Sprintf(format, args...))
}

func (tr *trace) names() []string {
	var names []string
	for name := range tr.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// add gives the key of that name, which may be new.
func (tr *trace) add(name string) *Key {
	if tr.keys[name] == nil {
		k := &tracedKey{name: name}
		k.key.Owner = k
		tr.keys[name] = k
	}
	return &tr.keys[name].key
}

func (tr *trace) owner(name string) *tracedKey {
	k := tr.keys[name]
	if k == nil {
		tr.d.Fatalf(tr.t, "there is no key %s", name)
	}
	return k
}

func (tr *trace) key(name string) *Key { return &tr.owner(name).key }

// The arguments of the input that is running.

func (tr *trace) word(i int) string {
	if i >= len(tr.d.CmdArgs) {
		tr.d.Fatalf(tr.t, "an argument is missing")
	}
	return tr.d.CmdArgs[i].Key
}

func (tr *trace) number(key string, otherwise int) int {
	arg, ok := tr.d.Arg(key)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(arg.SingleVal(tr.t))
	if err != nil {
		tr.d.Fatalf(tr.t, "%v", err)
	}
	return n
}

func (tr *trace) duration(key string) time.Duration {
	arg, ok := tr.d.Arg(key)
	if !ok {
		tr.d.Fatalf(tr.t, "%s is missing", key)
	}
	d, err := time.ParseDuration(arg.SingleVal(tr.t))
	if err != nil {
		tr.d.Fatalf(tr.t, "%v", err)
	}
	return d
}
