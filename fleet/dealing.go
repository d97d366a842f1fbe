package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/actorpool/actorpool/fleet/store"
)

// deal is one turn of a coordinator, if it is time. Every member may deal; the first ones
// by name do it most often, so that a large fleet does not read its ledger all the time.
func (m *memberActor) deal() {
	wait := m.cfg.TTL / renewals / looks * time.Duration(max(1, m.rank))
	if m.dealing || m.now()-m.dealtAt < wait || m.leaving {
		return
	}
	m.dealing, m.dealtAt = true, m.now()
	now, c, cfg := m.dealtAt, m.coordinator, m.cfg
	m.async(m.cfg.TTL, func(ctx context.Context) any {
		v, err := cfg.Store.Snapshot(ctx, cfg.Key)
		if err != nil {
			return &dealt{v, err}
		}
		var gone []string
		if suspects := c.Suspects(v, now); len(suspects) > 0 {
			if gone, err = cfg.Reclaim.Reclaim(ctx, suspects); err != nil {
				gone = nil // what is not sure stays charged
			}
		}
		sum, changes := c.Decide(v, gone, now)
		if len(changes) > 0 {
			// What does not fit is decided anew on the next turn.
			e := cfg.Store.Commit(ctx, cfg.Key, v.Sum, sum, changes[:min(len(changes), store.MaxChanges)])
			if e != nil && !errors.Is(e, store.ErrConflict) {
				err = errors.Join(err, e)
			}
		}
		return &dealt{v, err}
	})
}

func (m *memberActor) dealt(msg *dealt) {
	m.dealing = false
	if msg.err != nil {
		m.cfg.Logger.Warn("fleet: dealing the budget failed", "key", m.cfg.Key, "err", msg.err)
	}
	if msg.snapshot.Sum.Revision > 0 {
		m.snapshot, m.readAt = msg.snapshot, m.now()
		m.rows = rowsOf(msg.snapshot)
		m.rank = 1 + slices.Index(slices.Sorted(maps.Keys(msg.snapshot.Reports)), m.incarnation)
	}
}

// rowsOf is the ledger for people, in the order of the incarnations.
func rowsOf(v store.Snapshot) []Row {
	all := make(map[string]Row, len(v.Rows))
	for inc, r := range v.Rows {
		all[inc] = Row{Incarnation: inc, Charge: r.Charge, Target: r.Target}
	}
	for inc, r := range v.Reports {
		row := all[inc]
		row.Incarnation, row.Want, row.Alive = inc, r.Want, true
		all[inc] = row
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Row) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
}
