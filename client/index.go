package client

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/actorpool/actorpool/actors"
)

// index finds the pool of a key without asking anybody. It is written by the set actor
// only. A change replaces a part of it by a copy, so there are many parts.
type index[K comparable] struct {
	seed  maphash.Seed
	parts [parts]atomic.Pointer[map[K]*actors.Member]
}

const parts = 256

func newIndex[K comparable]() *index[K] { return &index[K]{seed: maphash.MakeSeed()} }

func (x *index[K]) part(key K) *atomic.Pointer[map[K]*actors.Member] {
	return &x.parts[maphash.Comparable(x.seed, key)%parts]
}

// find gives the pool of a key; nil: there is none.
func (x *index[K]) find(key K) *actors.Member {
	part := x.part(key).Load()
	if part == nil {
		return nil
	}
	return (*part)[key]
}

func (x *index[K]) put(key K, m *actors.Member) {
	x.change(key, func(copied map[K]*actors.Member) { copied[key] = m })
}

func (x *index[K]) remove(key K) {
	x.change(key, func(copied map[K]*actors.Member) { delete(copied, key) })
}

func (x *index[K]) change(key K, change func(map[K]*actors.Member)) {
	part := x.part(key)
	copied := make(map[K]*actors.Member)
	if old := part.Load(); old != nil {
		for k, m := range *old {
			copied[k] = m
		}
	}
	change(copied)
	part.Store(&copied)
}
