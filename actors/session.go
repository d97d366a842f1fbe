package actors

import (
	"sync/atomic"
	"unsafe"
)

// sessions says who asks, for a recording: the number of the goroutine.
//
// To find the number out takes some fifty times as long as the rest of a Get and Put. But
// a block of a stack belongs to one goroutine at a time. So what was found out for a
// block is remembered, and once the same number was found there often enough in a row, it
// is taken to be the same for a while. A goroutine with fewer than sureAfter Gets is always
// asked. When one ends that had more, the next that is given its stack can be taken for it:
// for at most as many Gets as the former one had made, and for longestTrust of them.
type sessions struct {
	ask  func() uint64
	seen [1 << seenBits]atomic.Pointer[seenAt]
}

const (
	blockBits    = 11 // no stack is smaller than 2 KiB, or begins within such a block
	seenBits     = 10
	sureAfter    = 16
	longestTrust = 256
)

// seenAt is a goroutine that was found on a block. Only its left changes.
type seenAt struct {
	block  uintptr
	number uint64
	times  int          // in a row
	trust  int32        // for how many Gets it is taken to be the same
	left   atomic.Int32 // how many of them are left
}

func newSessions() *sessions { return &sessions{ask: goroutine} }

// number is the number of this goroutine.
//
//go:noinline
func (s *sessions) number() uint64 {
	var here byte
	return s.numberAt(uintptr(unsafe.Pointer(&here)) >> blockBits)
}

// numberAt is the number of the goroutine that a block of a stack belongs to, which is
// that of the caller.
func (s *sessions) numberAt(block uintptr) uint64 {
	at := &s.seen[(block^block>>seenBits)&(1<<seenBits-1)]
	last := at.Load()
	if last != nil && last.block != block {
		last = nil
	}
	if last != nil && last.trust > 0 && last.left.Add(-1) >= 0 {
		return last.number
	}
	now := &seenAt{block: block, number: s.ask(), times: 1}
	if last != nil && last.number == now.number {
		if now.times = last.times + 1; now.times >= sureAfter {
			now.trust = min(longestTrust, max(sureAfter, 2*last.trust))
			now.left.Store(now.trust)
		}
	}
	at.Store(now)
	return now.number
}
