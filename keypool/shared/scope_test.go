// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"testing"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
)

// Of a place that each machine has for itself only keys are told of, and of one
// that is asked without a key nothing. Elsewhere what stands for the key is
// known by the place.
func TestWhatIsToldOfPlaces(t *testing.T) {
	key := keypool.Fingerprint("secret-0")
	for _, test := range []struct {
		place   string
		keyless bool
		// key is by what the key is told of, and upstream whether that is.
		key      string
		upstream bool
	}{
		{"here", false, key, true},
		{"here", true, key + "@here", true},
		{"", false, key, false},
		{"", true, "", false},
	} {
		i := &instance{pool: newPool(t), pins: keypool.NewPins(10, time.Hour, time.Now)}
		source := i.source()
		source.Place, source.Keyless = test.place, test.keyless
		var s scope
		s.update([]*Source{source})
		i.limit(t, "k0", "m", time.Minute)
		for range 5 {
			lease, err := i.pool.Acquire(keypool.Want{Model: "n"}, new(keypool.Tried))
			if err != nil {
				t.Fatal(err)
			}
			lease.Report(keypool.Outcome{Verdict: keypool.Verdict{Class: keypool.ClassUpstream}})
		}
		n := news{now: time.Now()}
		s.gather(&n)
		told, upstream := "", false
		for _, f := range n.facts {
			if f.Place != "" {
				upstream = true
			} else {
				told = f.Key
			}
		}
		if told != test.key || upstream != test.upstream {
			t.Errorf("%+v: told of the key as %q, of the upstream: %t", test, told, upstream)
		}
	}
}
