// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// An address that has failed too often waits until the window since its first
// failure is over; others don't.
func TestFailuresBlockAnAddress(t *testing.T) {
	var f Failures
	bad, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	wait := func(now time.Time, from netip.Addr) time.Duration { return f.Wait(now, from, 3, time.Minute) }
	for i := range 3 {
		if got := wait(noon, bad); got != 0 {
			t.Fatalf("after %d failures: wait %s", i, got)
		}
		f.Add(noon.Add(time.Duration(i)*time.Second), bad, time.Minute)
	}
	if got := wait(noon.Add(10*time.Second), bad); got != 50*time.Second {
		t.Errorf("wait %s, want 50s", got)
	}
	if got := wait(noon, other); got != 0 {
		t.Errorf("another address waits %s", got)
	}
	if got := wait(noon.Add(time.Minute), bad); got != 0 {
		t.Errorf("after the window: wait %s", got)
	}
	f.Add(noon.Add(time.Minute), bad, time.Minute)
	if got := wait(noon.Add(time.Minute), bad); got != 0 {
		t.Errorf("one failure in the new window: wait %s", got)
	}
}

// A host has a whole IPv6 network to call from, and an IPv4 address may be
// written as one of IPv6.
func TestFailuresKnowAHost(t *testing.T) {
	var f Failures
	f.Add(noon, netip.MustParseAddr("2001:db8::1"), time.Minute)
	f.Add(noon, netip.MustParseAddr("::ffff:192.0.2.1"), time.Minute)
	for address, want := range map[string]bool{
		"2001:db8::ffff:1": true, "2001:db8:0:1::1": false, "192.0.2.1": true, "192.0.2.2": false,
	} {
		if got := f.Wait(noon, netip.MustParseAddr(address), 1, time.Minute) > 0; got != want {
			t.Errorf("%s waits: %t", address, got)
		}
	}
}

// However many addresses fail, only so many are remembered, the recent rather
// than the old.
func TestFailuresAreBounded(t *testing.T) {
	var f Failures
	now := noon
	for i := range uint32(3 * maxAddresses) {
		var octets [4]byte
		binary.BigEndian.PutUint32(octets[:], 0x0b000000+i)
		now = now.Add(time.Millisecond)
		f.Add(now, netip.AddrFrom4(octets), time.Hour)
	}
	if len(f.addresses) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(f.addresses))
	}
	old := 0
	for _, known := range f.addresses {
		if now.Sub(known.since) > 2*maxAddresses*time.Millisecond {
			old++
		}
	}
	if old > maxAddresses/50 {
		t.Errorf("%d of them are old", old)
	}
}
