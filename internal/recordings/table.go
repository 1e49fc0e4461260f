// SPDX-License-Identifier: Apache-2.0

package recordings

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table counts the recordings that came out as expected, by provider and API.
type Table map[string]score

type score struct{ passed, total int }

// Count notes how a recording came out.
func (t Table) Count(r Recording, passed bool) {
	line := r.Want.Provider + " " + r.Want.API
	counted := t[line]
	counted.total++
	if passed {
		counted.passed++
	}
	t[line] = counted
}

// String returns the table, a line for each provider and API, and the sum.
func (t Table) String() string {
	var text strings.Builder
	var all score
	for _, line := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&text, "\n%-45s %d/%d", line, t[line].passed, t[line].total)
		all.passed += t[line].passed
		all.total += t[line].total
	}
	fmt.Fprintf(&text, "\n%-45s %d/%d", "all", all.passed, all.total)

	return text.String()
}
