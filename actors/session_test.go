package actors

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// counted counts how often goroutines are asked for their numbers.
func counted(of func() uint64) (s *sessions, asked *int) {
	asked = new(int)
	s = newSessions()
	s.ask = func() uint64 { *asked++; return of() }
	return s, asked
}

func TestAGoroutineThatAsksOftenIsAskedSeldom(t *testing.T) {
	s, asked := counted(goroutine)
	own := goroutine()
	for range sureAfter {
		assert.Equal(t, own, s.number())
	}
	assert.Equal(t, sureAfter, *asked)
	for range 10_000 {
		assert.Equal(t, own, s.number())
	}
	assert.Less(t, *asked, sureAfter+50)
}

// The stacks of these are used again and again.
func TestAGoroutineThatAsksSeldomIsNotTakenForAnother(t *testing.T) {
	s := newSessions()
	numbers := map[uint64]bool{}
	for n := range 500 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			own := goroutine()
			numbers[own] = true
			for range 1 + n%(sureAfter-1) {
				assert.Equal(t, own, s.number())
			}
		}()
		<-done
	}
	assert.Len(t, numbers, 500)
}

func TestAGoroutineIsTakenForAFormerOneForAWhileAtMost(t *testing.T) {
	for _, gets := range []int{sureAfter, 40, 100, 1000, 100_000} {
		number := uint64(1)
		s, _ := counted(func() uint64 { return number })
		for range gets {
			assert.EqualValues(t, 1, s.numberAt(77))
		}
		number = 2
		wrong := 0
		for s.numberAt(77) == 1 {
			wrong++
		}
		assert.LessOrEqual(t, wrong, min(gets, longestTrust), "after %d Gets", gets)
		for range 10 {
			assert.EqualValues(t, 2, s.numberAt(77))
		}
	}
}

func TestBlocksWithTheSamePlaceAreNotTakenForEachOther(t *testing.T) {
	blocks := []uintptr{5, 5 ^ (1<<seenBits | 1)}
	number := uint64(0)
	s, asked := counted(func() uint64 { return number })
	for range 100 {
		for i, block := range blocks {
			number = uint64(i + 1)
			assert.Equal(t, number, s.numberAt(block))
		}
	}
	assert.Equal(t, 200, *asked)
}

func TestManyGoroutinesAskAtOnce(t *testing.T) {
	s := newSessions()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range sureAfter - 1 {
				assert.Equal(t, goroutine(), s.number())
			}
			for range 1000 {
				assert.NotZero(t, s.number())
			}
		})
	}
	all.Wait()
}
