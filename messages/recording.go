package messages

import "time"

// RecordingVersion is the version of the format that Recording.WriteTo writes.
const RecordingVersion = 1

// Recording is what was asked of a pool for a while, and how that went: one entry for
// each Get, and how long connects took. See client.Pool.Record. It holds no connections,
// no errors and nothing that callers have sent over them; it does hold labels, and
// settings as text.
type Recording struct {
	// Version is that of the format: RecordingVersion, or what was read.
	Version int
	// Pool is the pool's name.
	Pool string
	// Start is when the recording began. Length is how long it lasted.
	Start  time.Time
	Length time.Duration
	// Capacity and MinIdle are those of the pool when the recording began.
	Capacity, MinIdle int
	// GetTimeout is that of the pool's configuration; 0: none.
	GetTimeout time.Duration
	// Truncated says that the recording ended early because it had its largest number of
	// Gets.
	Truncated bool
	// Connects are how long the connects took that succeeded meanwhile, in the order in
	// which they were done.
	Connects []time.Duration
	// Gets are the Gets, in the order in which they came.
	Gets []RecordedGet
}

// RecordedGet is one Get of a [Recording], with the lease that it was granted.
type RecordedGet struct {
	// At is when it came, from the start of the recording. A Get that waited then, and a
	// lease that was out then, have At 0, and Wait and Hold count from the start.
	At time.Duration
	// Wait is how long it waited, whatever came of it.
	Wait time.Duration
	// Hold is how long its lease lasted, from the grant to the Put, the Taint or the
	// Hijack, or until the pool ended it. It is 0 without a lease, and with Out.
	Hold time.Duration
	// Patience is how long it was ready to wait when it came: the time to its deadline,
	// which is that of its context, Get.Deadline, or GetTimeout, less Reserve. 0: without
	// end.
	Patience time.Duration
	// Session is who asked: a number for each goroutine, and for each actor that asks by
	// message, from 1. One with many Gets asks, uses, thinks, and asks again. 0: unknown.
	Session uint64
	// Label is that of the Get.
	Label string
	// Setting is the text of the setting that was asked for, by %v; empty: none.
	Setting string
	// Outcome is how the Get ended.
	Outcome RecordedOutcome
	// Out says that the lease had not ended when the recording did. It had lasted for
	// Recording.Length - At - Wait.
	Out bool
}

// RecordedOutcome is how a Get of a [Recording] ended.
type RecordedOutcome uint8

// The outcomes.
const (
	// RecordedGranted: with a connection.
	RecordedGranted RecordedOutcome = iota + 1
	// RecordedHeld: it had been granted its connection before the recording began.
	RecordedHeld
	// RecordedWaiting: it still waited when the recording ended.
	RecordedWaiting
	// RecordedTimeout: its deadline, GetTimeout or Reserve ended it.
	RecordedTimeout
	// RecordedCancelled: its caller left.
	RecordedCancelled
	// RecordedFailed: a connect or Apply failed, or the pool was in a blocking period.
	RecordedFailed
	// RecordedExhausted: MaxWaiters Gets waited already.
	RecordedExhausted
	// RecordedShed: Shed or ShedHopeless ended it.
	RecordedShed
	// RecordedDeadlock: every connection was held by a caller that waited for another one.
	RecordedDeadlock
	// RecordedCleared: the pool was paused, or was cleared meanwhile (PauseOnClear).
	RecordedCleared
	// RecordedClosed: the pool was closed.
	RecordedClosed
)

var recordedOutcomes = [...]string{
	RecordedGranted: "granted", RecordedHeld: "held", RecordedWaiting: "waiting", RecordedTimeout: "timeout",
	RecordedCancelled: "cancelled", RecordedFailed: "failed", RecordedExhausted: "exhausted", RecordedShed: "shed",
	RecordedDeadlock: "deadlock", RecordedCleared: "cleared", RecordedClosed: "closed",
}

// String gives the name in lower case.
func (o RecordedOutcome) String() string {
	if o == 0 || int(o) >= len(recordedOutcomes) {
		return "unknown"
	}
	return recordedOutcomes[o]
}
