package pooltest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// T is what Check needs of a test. A *testing.T, a *testing.B and a testing.TB have it.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Pool is what Check asks. A *client.Pool of any type of connection and a *client.Set have
// it. If the pool has a method
//
//	Explain(context.Context) (messages.Explanation, error)
//
// as *client.Pool does, Check also says who holds what, and who waits.
type Pool interface {
	Stats() messages.Stats
}

// Patience is how long Check waits for what is under way to end.
const Patience = 2 * time.Second

// Check fails a test if a pool is not as it must be at the end of it, with one error that
// says all that is wrong:
//
//   - nothing has leaked: no connection is borrowed, and no lease was found to be garbage;
//   - nobody waits for a connection;
//   - the pool's counts agree with each other: see [Unbalanced];
//   - the servers' connections that are not closed are those of the pool, and none was
//     misused: see [Server.Misuse]. The servers must have no other client than this pool.
//     An operation after Close is no fault if the pool has ended leases by itself
//     (Stats.Revoked): then their holders cannot know.
//
// Check may be called before and after the pool is closed, and closes nothing: the end of
// the test should. What is under way has [Patience] to end. In a bubble of testing/synctest
// that is virtual time, and passes only if something is wrong, or if others call Check or
// synctest.Wait at the same moment, which one goroutine of a bubble can do at a time: then
// Check lets a nanosecond pass.
//
// A pool or a server that is nil, and a server that NewServer has not made, fail the test.
// A server that is given twice counts once.
func Check(t T, pool Pool, servers ...*Server) {
	t.Helper()
	if nothing := unusable(pool, servers); nothing != "" {
		t.Errorf("pooltest: Check: %s", nothing)
		return
	}
	servers = distinct(servers)
	faults := settled(func() []string { return faultsOf(pool, servers) })
	if len(faults) == 0 {
		return
	}
	st := pool.Stats()
	t.Errorf("pooltest: pool %q is not as it must be at the end of a test:%s\nThe pool: state=%s capacity=%d open=%d borrowed=%d idle=%d connecting=%d closing=%d waiting=%d",
		st.Name, list("  - ", faults), st.State, st.Capacity, st.Open, st.Borrowed, st.Idle, st.Connecting, st.Closing, st.Waiting)
}

// unusable says why there is nothing to check; empty: there is.
func unusable(pool Pool, servers []*Server) string {
	if v := reflect.ValueOf(pool); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return "the pool is nil"
	}
	for i, s := range servers {
		switch {
		case s == nil:
			return fmt.Sprintf("servers[%d] is nil", i)
		case !s.isMade():
			return fmt.Sprintf("servers[%d] was not made by NewServer", i)
		}
	}
	return ""
}

// distinct gives each server once.
func distinct(servers []*Server) []*Server {
	var all []*Server
	for _, s := range servers {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// settled looks for faults until there are none, or no patience is left.
func settled(look func() []string) []string {
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		for !quiesce() {
			time.Sleep(time.Nanosecond) // until the others have seen that all wait
		}
		faults := look()
		if len(faults) == 0 || time.Since(begun) >= Patience {
			return faults
		}
	}
}

// quiesce waits until every other goroutine of the bubble waits. It reports false if
// another goroutine does so already. Outside of a bubble it does nothing: there is no
// other way to ask than to try.
func quiesce() (done bool) {
	defer func() {
		switch reason := recover(); {
		case reason == nil, strings.Contains(fmt.Sprint(reason), "not in a bubble"):
			done = true
		case !strings.Contains(fmt.Sprint(reason), "wait already in progress"):
			panic(reason)
		}
	}()
	synctest.Wait()
	return true
}

// faultsOf lists what is wrong with a pool and its servers.
func faultsOf(pool Pool, servers []*Server) []string {
	st := pool.Stats()
	explanation := explain(pool)
	var faults []string
	if n := st.Borrowed; n > 0 {
		faults = append(faults, fmt.Sprintf("%s not returned, by Put or Taint:%s", were(n, "lease"), holders(explanation.Holders)))
	}
	for _, e := range explanation.Recent {
		if e.Kind == messages.LeaseLeaked && errors.Is(e.Err, messages.ErrLeaseLost) {
			faults = append(faults, fmt.Sprintf("the lease of connection %d was dropped without Put or Taint, and found as garbage:%s",
				e.ConnID, list("  ", []string{fmt.Sprintf("%q", e.Label) + below(e.Stack)})))
		}
	}
	if n := st.Waiting; n > 0 {
		var waiters []string
		for _, w := range explanation.Waiters {
			waiters = append(waiters, w.String()+below(w.Stack))
		}
		faults = append(faults, fmt.Sprintf("%s waiting for a connection:%s", are(n, "Get"), list("  ", waiters)))
	}
	for _, rule := range Unbalanced(st) {
		faults = append(faults, fmt.Sprintf("the counts do not agree: %s: %+v", rule, st))
	}
	return append(faults, faultsAt(servers, st)...)
}

// explain gives what the pool says of itself; nothing if it cannot, or is closed.
func explain(pool Pool) messages.Explanation {
	p, ok := pool.(interface {
		Explain(ctx context.Context) (messages.Explanation, error)
	})
	if !ok {
		return messages.Explanation{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	explanation, _ := p.Explain(ctx) // it is empty with an error, which is that of a closed pool
	return explanation
}

// holders describes those who have not returned their leases.
func holders(all []messages.Holder) string {
	var lines []string
	unknown := false
	for _, h := range all {
		lines = append(lines, h.String()+below(h.Stack))
		unknown = unknown || h.Stack == ""
	}
	if unknown {
		lines = append(lines, "With Config.LeakAfter this list says where the Get was called.")
	}
	return list("  ", lines)
}

// faultsAt lists what is wrong at the servers of a pool.
func faultsAt(servers []*Server, st messages.Stats) []string {
	var faults []string
	var unclosed []*Conn
	for _, s := range servers {
		for _, m := range s.misused() {
			if st.Revoked == 0 || !strings.HasSuffix(m.text, afterClose) {
				faults = append(faults, "misuse: "+m.text)
			}
		}
		unclosed = append(unclosed, *s.unclosed.Load()...)
	}
	if len(servers) == 0 {
		return faults
	}
	// What is being opened or closed, was given up, or was kept by its holder may be there or not.
	unsure := st.Connecting + st.Closing + st.GivenUp + int(st.Hijacks)
	switch n := len(unclosed); {
	case n < st.Open:
		faults = append(faults, fmt.Sprintf("the pool has %s open, of which somebody else has closed %d", count(st.Open, "connection"), st.Open-n))
	case n > st.Open+unsure:
		var lines []string
		for _, c := range unclosed {
			lines = append(lines, fmt.Sprintf("%v, opened at %v", c, c.opened))
		}
		faults = append(faults, fmt.Sprintf("the pool has %s open, and these were opened and not closed:%s", count(st.Open, "connection"), list("  ", lines)))
	}
	return faults
}

// Unbalanced lists the rules that a snapshot of a pool breaks, and that hold in every
// snapshot at any time. There are none unless the pool is wrong.
func Unbalanced(st messages.Stats) []string {
	var broken []string
	for _, rule := range []struct {
		holds bool
		text  string
	}{
		{st.Open == st.Idle+st.Borrowed+st.InTransition, "Open = Idle + Borrowed + InTransition"},
		{min(st.Idle, st.Borrowed, st.InTransition, st.Connecting, st.Closing, st.Waiting, st.Capacity, st.GivenUp) >= 0, "no number is negative"},
		{st.Grants == uint64(st.Borrowed)+st.Puts+st.Taints+st.Revoked+st.Hijacks, "Grants = Borrowed + Puts + Taints + Revoked + Hijacks"},
		{st.Grants+st.Timeouts+st.Cancels <= st.Gets, "Grants + Timeouts + Cancels <= Gets"},
		{st.GrantedWaits <= st.Waits && st.Waits <= st.Gets, "GrantedWaits <= Waits <= Gets"},
		{uint64(st.Open+st.Connecting)+st.ConnectErrors <= st.Connects, "Open + Connecting + ConnectErrors <= Connects"},
	} {
		if !rule.holds {
			broken = append(broken, rule.text)
		}
	}
	return broken
}

// list puts each item on a line of its own, and indents what it has below.
func list(mark string, items []string) string {
	var b strings.Builder
	for _, item := range items {
		b.WriteString("\n" + mark + strings.ReplaceAll(item, "\n", "\n"+strings.Repeat(" ", len(mark))))
	}
	return b.String()
}

// below puts a stack below what it belongs to.
func below(stack string) string {
	if stack == "" {
		return ""
	}
	return "\n    " + strings.ReplaceAll(strings.TrimSpace(stack), "\n", "\n    ")
}

// count gives a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}

func were(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return count(n, noun) + " were"
}

func are(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return count(n, noun) + " are"
}
