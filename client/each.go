package client

import (
	"context"
	"strings"

	"github.com/actorpool/actorpool/actors"
	"github.com/actorpool/actorpool/messages"
)

// Each calls f with each connection that is open now, one at a time, on the caller's
// goroutine: the idle ones first, and borrowed ones when they are returned, before
// anybody else gets them. Meanwhile the others are lent as always. A connection that is
// closed, cleared or hijacked before its turn is left out, and so is one that is being
// opened. A caller that holds a lease of the pool waits for itself.
//
// If f returns an error, that connection is closed, and Each goes on with the next; its
// error is all of these. If the pool ends the lease while f runs, because of MaxLease or a
// Clear with Interrupt, messages.ErrLeaseEnded is among them. If f panics or ends its
// goroutine, the connection is closed, and Each ends. Each also ends with the error of ctx,
// and with messages.ErrClosed after Close. A nil f is a *[messages.ConfigError].
//
// The connections count as borrowed meanwhile, by a holder with the label "Each", and in
// Stats each visit is a Get, a Grant and a Put. Reusable is asked as after any other lease.
// For MaxUses a visit is no use. Each goes on while the pool is suspended.
func (p *Pool[C]) Each(ctx context.Context, f func(ctx context.Context, conn C) error) error {
	if f == nil {
		return &messages.ConfigError{Field: "f", Reason: "it is nil"}
	}
	ref, err := p.find(ctx)
	if err != nil {
		return err
	}
	var failed joined
	err = ref.Each(ctx, func(l actors.Lease) {
		conn, ok := l.Conn()
		if !ok {
			return // the pool has ended the lease
		}
		done := false
		defer func() {
			if !done {
				_ = l.Taint(errAborted)
			}
		}()
		err := f(l.Context(ctx), conn.(C))
		dead := err != nil && isDead(err) // code of the user, too: done is still false
		done = true
		var ended error
		switch {
		case err == nil:
			ended = l.Put()
		case dead:
			ended = l.TaintDead(err)
		default:
			ended = l.Taint(err)
		}
		for _, err := range []error{err, ended} {
			if err != nil {
				failed = append(failed, err)
			}
		}
	})
	switch {
	case len(failed) == 0:
		return err
	case err != nil:
		failed = append(failed, err)
	}
	return failed
}

// TryGetAll borrows all connections that are idle, in one turn of the pool, whatever
// their settings are and without a check: for instance to look at each of them. End each
// lease with Put or Taint. For MaxUses this is no use of them; in Stats each counts as a
// Get. It never waits or connects. There are none while the pool is suspended, paused or
// closed.
func (p *Pool[C]) TryGetAll() []Lease[C] {
	ref, err := p.find(context.Background())
	if err != nil {
		return nil
	}
	loans := ref.TryGetAll()
	leases := make([]Lease[C], len(loans))
	for i, loan := range loans {
		leases[i].loan = loan
	}
	return leases
}

// joined is several errors as one.
type joined []error

// Error is one line, whatever the errors are.
func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = inOneLine(err)
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }

// inOneLine is the text of an error without line breaks.
func inOneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "; ")
}
