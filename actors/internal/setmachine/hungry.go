package setmachine

import (
	"container/heap"
	"slices"
)

// hungry is the keys that could use more units than they have and will have. Those with
// the same number of units are together, the longest wait first, and there are few such
// numbers.
type hungry struct {
	byUnits []*bucket // with the fewest units first; none is empty
	n       int
}

type bucket struct {
	units int
	keys  keyHeap
}

// keyHeap is a heap for container/heap, the longest wait at the top.
type keyHeap []*Key

func (h keyHeap) Len() int           { return len(h) }
func (h keyHeap) Less(i, j int) bool { return h[i].longer(h[j]) }
func (h keyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *keyHeap) Push(x any) {
	k := x.(*Key)
	k.index = len(*h)
	*h = append(*h, k)
}
func (h *keyHeap) Pop() any {
	last := len(*h) - 1
	k := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return k
}

func (h *hungry) find(units int) (int, bool) {
	return slices.BinarySearchFunc(h.byUnits, units, func(b *bucket, units int) int { return b.units - units })
}

func (h *hungry) insert(k *Key) {
	units := k.units()
	i, found := h.find(units)
	if !found {
		h.byUnits = slices.Insert(h.byUnits, i, &bucket{units: units})
	}
	k.bucket = h.byUnits[i]
	heap.Push(&k.bucket.keys, k)
	h.n++
}

func (h *hungry) remove(k *Key) {
	heap.Remove(&k.bucket.keys, k.index)
	if len(k.bucket.keys) == 0 {
		i, _ := h.find(k.bucket.units)
		h.byUnits = slices.Delete(h.byUnits, i, i+1)
	}
	k.bucket = nil
	h.n--
}

// neediest is the key that waits longest among those below their share; or if there is
// none, of all, with below false. nil: none is hungry.
func (h *hungry) neediest(l Level) (neediest *Key, below bool) {
	for _, b := range h.byUnits {
		if under := l.Above(b.units); under || !below {
			if k := b.keys[0]; neediest == nil || k.longer(neediest) {
				neediest, below = k, under
			}
		}
	}
	return neediest, below
}
