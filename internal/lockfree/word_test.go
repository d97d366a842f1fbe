package lockfree

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStateWord(t *testing.T) {
	word := uint64(0)
	for i, n := range []int64{0, 1, maxCapacity, -1, -maxWaits, 0} {
		word = step(word, n)
		require.Equal(t, n, count(word))
		require.EqualValues(t, i+1, word>>lowBits, "the tag grows by one, whatever the count")
	}
	last := ^uint64(0)&^lowMask | 5
	require.Equal(t, uint64(3), step(last, 3), "the tag wraps without touching the count")
	require.Equal(t, word&^lowMask|7, relink(word, 7))
}

func TestSizeWord(t *testing.T) {
	z := size(0).withCapacity(maxCapacity) + maxCapacity*openOne + maxCapacity*closingOne
	require.Equal(t, []int{maxCapacity, maxCapacity, maxCapacity}, []int{z.capacity(), z.open(), z.closing()})
	require.False(t, z.closed())
	require.True(t, (z | closedFlag).closed())
	require.Equal(t, maxCapacity, (z | closedFlag).capacity())
	require.Zero(t, z.withCapacity(0).capacity())
	require.Equal(t, maxCapacity, z.withCapacity(0).open())

	two := size(0).withCapacity(1) + 2*openOne
	require.True(t, two.over())
	require.False(t, (two + closingOne).over(), "one is being closed already")
	require.False(t, (two + closingOne).room(), "but still has its place")
	require.True(t, size(0).withCapacity(1).room())
}
