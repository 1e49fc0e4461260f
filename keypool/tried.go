// SPDX-License-Identifier: Apache-2.0

package keypool

// Tried remembers the keys that a call has used. The zero value is empty; it
// allocates nothing for pools of up to 1,024 keys.
type Tried struct {
	first [16]uint64
	rest  []uint64
	any   bool
}

// has reports whether key i was used. Nothing was in a nil set.
func (t *Tried) has(i int) bool {
	if t.empty() {
		return false
	}
	word, bit := i/64, uint64(1)<<(i%64)
	if word < len(t.first) {
		return t.first[word]&bit != 0
	}
	word -= len(t.first)
	return word < len(t.rest) && t.rest[word]&bit != 0
}

// empty reports whether no key was used.
func (t *Tried) empty() bool { return t == nil || !t.any }

func (t *Tried) add(i int) {
	if t == nil {
		return
	}
	t.any = true
	word, bit := i/64, uint64(1)<<(i%64)
	if word < len(t.first) {
		t.first[word] |= bit
		return
	}
	word -= len(t.first)
	for len(t.rest) <= word {
		t.rest = append(t.rest, 0)
	}
	t.rest[word] |= bit
}
