// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"net/netip"
	"testing"
	"time"
)

// Access ends at the moment that is given, not after it.
func TestExpired(t *testing.T) {
	end := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	c := Client{Expires: end}
	if c.Expired(end.Add(-1)) || !c.Expired(end) || !c.Expired(end.AddDate(1, 0, 0)) {
		t.Error("access does not end when it should")
	}
	if new(Client).Expired(end) {
		t.Error("access without an end has ended")
	}
}

// An address is allowed in whatever way it is written, and none is not one.
func TestAllowsAddress(t *testing.T) {
	c := Client{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00::1": true, "fd00::1%eth0": true,
		"11.1.2.3": false, "::ffff:11.1.2.3": false, "fe80::1": false,
	} {
		if got := c.AllowsAddress(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	if c.AllowsAddress(netip.Addr{}) {
		t.Error("no address at all is allowed")
	}
	if !new(Client).AllowsAddress(netip.MustParseAddr("11.1.2.3")) {
		t.Error("without networks an address is refused")
	}
}
