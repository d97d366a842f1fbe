package machine

import (
	"strings"
	"time"
)

// The notes that do not depend on the moment.
const (
	noQuota    = "fleet: no quota"
	NoteOver   = "fleet: lease has ended, joining again"
	NoteFailed = "fleet: joining again failed, trying again"
	NoteLeave  = "fleet: leaving"
)

// Note says in a few words why the pool may have nothing, or no more than it has; "": there
// is nothing to say. capacity is what the pool is set to.
func (m *Member) Note(now time.Duration, capacity int) string {
	since := now - m.proof
	late := since >= m.cfg.Late
	switch {
	case m.phase == Over:
		return NoteOver
	case m.phase == Hard:
		return notReached(since) + ", all is closed"
	case m.phase == Soft:
		return notReached(since) + ", connects refused"
	case m.phase == New:
		return "fleet: no share yet"
	case capacity == 0 && m.allowed() > 0:
		return "fleet: share is taken by connections given up"
	case capacity == 0 && late:
		return noQuota + ", " + strings.TrimPrefix(notReached(since), "fleet: ")
	case capacity == 0:
		return noQuota
	case late:
		return notReached(since) + ", shares do not move"
	}
	return ""
}

// notReached says for how long the store was not reached: in seconds, after a minute in
// minutes, so that the note does not change more often than it must.
func notReached(since time.Duration) string {
	age := since.Truncate(time.Second).String()
	if since >= time.Minute {
		age = strings.TrimSuffix(since.Truncate(time.Minute).String(), "0s")
	}
	return "fleet: store not reached for " + age
}
