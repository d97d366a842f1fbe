package sim

import (
	"time"

	"github.com/actorpool/actorpool/fleet/store"
)

// role is the login role of a slot. Members that have the slot one after the other use it.
type role struct {
	login   bool
	secret  string // of the incarnation that may log in
	user    string // the incarnation that has occupied it last
	refused bool   // because that has died
	since   time.Duration
}

// adminPatience is how long the server keeps the admin session of a process that is frozen.
const adminPatience = 8 * time.Second

// asAdmin takes the only admin connection, and the lock with it; false: another process has
// it.
func (p *Process) asAdmin() (session int, ok bool) {
	s := &p.w.server
	if s.admin != nil {
		return 0, false
	}
	s.admin = p
	s.session++
	session = s.session
	p.w.after(adminPatience, func() {
		if s.session == session {
			s.admin = nil
		}
	})
	return session, true
}

// leaveAdmin closes the admin connection of a process, if it has one.
func (p *Process) leaveAdmin(lag time.Duration) {
	s := &p.w.server
	if session := s.session; s.admin == p {
		p.w.after(lag, func() {
			if s.session == session {
				s.admin = nil
			}
		})
	}
}

// occupy gives the role of the member's slot a password of its own, and lets it log in.
func (p *Process) occupy() {
	if p.occupying {
		return
	}
	w, inc := p.w, p.incarnation
	row, _ := p.member.Row()
	p.occupying = true
	again := func() {
		p.leaveAdmin(0)
		p.after(w.Refresh/10, func() {
			p.occupying = false
			p.apply()
		})
	}
	alter := func(session int) {
		if r := &w.server.roles[row.Slot]; w.server.session == session && w.server.admin == p {
			w.Occupied++
			*r = role{login: true, secret: inc, user: inc}
			p.leaveAdmin(0)
			p.after(w.spread(time.Millisecond), func() {
				p.member.Occupied()
				p.apply()
			})
			return
		}
		again()
	}
	p.after(w.spread(2*time.Millisecond), func() {
		session, ok := p.asAdmin()
		r := &w.server.roles[row.Slot]
		switch {
		case !ok:
			again()
		case r.refused && w.now-r.since <= w.AuthTimeout && w.Fault != NoRest:
			again()
		case w.Fault == OccupyUnchecked:
			p.after(w.spread(2*time.Millisecond), func() { alter(session) })
		default:
			p.call(func() func() {
				_, alive := w.ledger.reports[inc]
				return func() {
					if alive {
						p.after(w.spread(2*time.Millisecond), func() { alter(session) })
						p.freezeNow()
						return
					}
					p.leaveAdmin(0) // its lease has ended: the next renewal says so
				}
			}, again)
		}
	})
	p.freezeNow()
}

// logIn is a login by the role of a slot. The server looks at the password when it begins,
// and whether the role may log in when it ends.
func (p *Process) logIn(slot int, open, refused func()) {
	w := p.w
	r, begun := &w.server.roles[slot], w.now
	if r.secret != p.incarnation && w.Fault != SamePassword {
		refused()
		return
	}
	p.after(w.spread(5*time.Millisecond), func() {
		if !r.login || w.now-begun > w.AuthTimeout {
			refused()
			return
		}
		open()
	})
	p.freezeNow()
}

// reclaimRoles refuses the logins of the roles that suspects have occupied, and ends their
// sessions.
func (p *Process) reclaimRoles(v store.Snapshot, suspects []string) {
	w := p.w
	p.after(w.spread(2*time.Millisecond), func() {
		if _, ok := p.asAdmin(); !ok {
			p.commit(v, nil)
			return
		}
		known := make(map[string]bool)
		for i := range w.server.roles {
			r := &w.server.roles[i]
			for _, inc := range suspects {
				if r.user != inc {
					continue
				}
				if known[inc] = true; !r.refused {
					r.login, r.refused, r.since = false, true, w.now
					if w.Fault != KeepPassword {
						r.secret = ""
					}
				}
			}
		}
		gone := w.count(sortedKeys(known))
		for _, inc := range suspects {
			if !known[inc] { // it has not occupied its slot, and cannot any more
				gone = append(gone, inc)
			}
		}
		p.leaveAdmin(0)
		p.commit(v, gone)
	})
}
