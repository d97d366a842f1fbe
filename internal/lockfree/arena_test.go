package lockfree

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

type thing struct {
	index uint32
	users atomic.Int32
}

func TestArenaGivesAnItemToOneUserAtATime(t *testing.T) {
	for _, first := range []int{0, 3, 100} {
		var a arena[thing]
		a.init(first, func(index uint32, v *thing) { v.index = index })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				var mine []*thing
				for i := range 300 {
					v := a.get()
					if v.users.Add(1) != 1 {
						t.Errorf("item %d has two users", v.index)
					}
					if a.at(int64(v.index)) != v {
						t.Errorf("item %d is not where its index says", v.index)
					}
					mine = append(mine, v)
					if i%3 != 0 {
						for _, v := range mine {
							v.users.Add(-1)
							a.put(v.index)
						}
						mine = mine[:0]
					}
				}
				for _, v := range mine {
					v.users.Add(-1)
					a.put(v.index)
				}
			})
		}
		wg.Wait()
		free := map[uint32]bool{}
		for n := count(a.free.Load()); n != 0; n = int64((*a.table.Load())[n-1].next.Load()) {
			require.False(t, free[uint32(n)])
			free[uint32(n)] = true
		}
		require.Len(t, free, len(*a.table.Load()), "all are free again")
	}
}
