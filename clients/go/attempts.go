package runwright

import "sync"

// How many calls are remembered, so that a lower attempt than seen is refused.
const mostKeys = 1 << 14

// attempts remembers the highest attempt of each call, and forgets the oldest calls.
type attempts struct {
	mutex   sync.Mutex
	highest map[string]uint32
	keys    []string // in the order in which they came; a ring once it is full
	next    int
}

// begin notes an attempt and gives the highest so far.
func (a *attempts) begin(key string, attempt uint32) uint32 {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.highest == nil {
		a.highest = map[string]uint32{}
	}
	if _, known := a.highest[key]; !known {
		if len(a.keys) < mostKeys {
			a.keys = append(a.keys, key)
		} else {
			delete(a.highest, a.keys[a.next])
			a.keys[a.next] = key
			a.next = (a.next + 1) % mostKeys
		}
	}
	a.highest[key] = max(a.highest[key], attempt)
	return a.highest[key]
}
