package client

import (
	"context"
	"fmt"

	"github.com/actorpool/actorpool/messages"
)

// RecordOptions are the options of a Record.
type RecordOptions struct {
	// Max is the largest number of Gets to record. The recording ends when so many have
	// come. While it is made, and until it is garbage, it takes up to 150 bytes for each.
	// 0: DefaultRecordedGets. It must not be negative, nor above
	// messages.MaxRecordedGets.
	Max int
	// NoSessions leaves out who asks: RecordedGet.Session is 0. A Get of a goroutine that
	// has asked seldom then takes far less time: see Record.
	NoSessions bool
}

// DefaultRecordedGets is the default of RecordOptions.Max.
const DefaultRecordedGets = 1_000_000

// Record records what is asked of the pool, until ctx ends or Max Gets have come: when
// each Get came and who asked, how long it waited and was ready to wait, and how long its
// lease lasted. What that tells about other sizes of the pool is the matter of package
// forecast.
//
// The end of ctx is the normal end: Record returns the recording and nil, whether ctx was
// cancelled or had a deadline. If the pool is closed meanwhile, it returns what was
// recorded so far together with messages.ErrClosed; and of a pool that was closed before,
// messages.ErrClosed alone. One recording of a pool is made at a time: a second Record
// returns messages.ErrRecording at once. A Max that is not allowed is a
// *[messages.ConfigError].
//
// A pool that is not being recorded does no work for it. While it is, each Get and Put is
// timed, which takes about three times their instructions. And each Get finds out its
// goroutine, which takes some microseconds, more where many functions have called each
// other; but nobody else waits for that, and one that has asked 16 times is asked seldom.
// When such a goroutine ends, one that begins afterwards may be taken for it, for at most
// 256 Gets.
//
// A TryGet that finds nothing is not recorded, nor is a Get that comes after Close.
// TryGetAll and Each are Gets as in Stats, but of an unknown session.
func (p *Pool[C]) Record(ctx context.Context, o RecordOptions) (*messages.Recording, error) {
	if o.Max < 0 || o.Max > messages.MaxRecordedGets {
		reason := fmt.Sprintf("%d is negative", o.Max)
		if o.Max > 0 {
			reason = fmt.Sprintf("%d is above %d", o.Max, messages.MaxRecordedGets)
		}
		return nil, &messages.ConfigError{Field: "Max", Reason: reason}
	}
	ref, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	return ref.Record(ctx, or(o.Max, DefaultRecordedGets), !o.NoSessions)
}
