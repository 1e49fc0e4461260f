// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// However many users an issuer has, the book grows to its bound only. Those it
// knows go on; there is room again when others count no more.
func TestRoomForGuests(t *testing.T) {
	b, rules := NewBook(), []Rule{window(Requests, 5, time.Hour)}
	enter := func(name string, now time.Time) bool {
		s := Client(name, rules)
		if !b.HasRoom(now, s) {
			return false
		}
		h := Begin(b, []*Subject{s}, false)
		_, _ = h.Enter(context.Background(), now)
		h.Settle(now, Amounts{})
		return true
	}
	refused, known, another := 0, "", ""
	for i, seen := 0, 0; seen < 2*maxAccounts; i++ {
		name := fmt.Sprint(i)
		if shardOf(name) != 0 {
			continue
		}
		if seen++; seen == 1 {
			known = name
		}
		if !enter(name, start) {
			refused, another = refused+1, name
		}
	}
	if n := b.size(); n != maxAccounts || refused != maxAccounts {
		t.Errorf("%d are remembered and %d were refused", n, refused)
	}
	if !enter(known, start) {
		t.Error("one that is known was refused")
	}
	if later := start.Add(3 * time.Hour); !enter(another, later) || b.size() >= maxAccounts {
		t.Errorf("%d are remembered when nothing counts any more", b.size())
	}
}
