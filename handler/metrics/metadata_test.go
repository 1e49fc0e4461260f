// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"strings"
	"testing"
)

// settleWith counts a call of a client with metadata, and has it cost 0.25.
func settleWith(t testing.TB, m *Metrics, of Metadata) {
	t.Helper()
	s := settled(answeredCall(t))
	s.Metadata = of
	m.Settle(s)
}

// byMetadata returns the values of a name that have series, with their calls.
func byMetadata(t testing.TB, m *Metrics, name string) map[string]float64 {
	t.Helper()
	calls := map[string]float64{}
	for series, n := range gather(t, m) {
		if rest, ok := strings.CutPrefix(series, `caddy_llm_metadata_calls_total{name="`+name+`",outcome="ok",value="`); ok {
			calls[strings.TrimSuffix(rest, `"}`)] = n
		}
	}
	return calls
}

// A call counts under each name that was chosen and no other, and under none
// where none was.
func TestCallsAreCountedByMetadata(t *testing.T) {
	m := New()
	of := map[string]string{"team": "search", "ticket": "4711"}
	settleWith(t, m, Metadata{Names: []string{"team", "plan"}, Of: of, Configured: true})
	settleWith(t, m, Metadata{Names: []string{"team", "plan"}, Of: map[string]string{"plan": "gold"}})
	settleWith(t, m, Metadata{Of: of, Configured: true})
	want := map[string]float64{
		`caddy_llm_metadata_calls_total{name="team",outcome="ok",value="search"}`:   1,
		`caddy_llm_metadata_calls_total{name="team",outcome="ok",value=""}`:         1,
		`caddy_llm_metadata_calls_total{name="plan",outcome="ok",value="gold"}`:     1,
		`caddy_llm_metadata_calls_total{name="plan",outcome="ok",value=""}`:         1,
		`caddy_llm_metadata_tokens_total{kind="input",name="team",value="search"}`:  20,
		`caddy_llm_metadata_tokens_total{kind="output",name="team",value="search"}`: 31,
		`caddy_llm_metadata_cost_dollars_total{name="team",value="search"}`:         0.25,
		`caddy_llm_metadata_tokens_total{kind="input",name="plan",value="gold"}`:    20,
		`caddy_llm_metadata_tokens_total{kind="output",name="plan",value="gold"}`:   31,
		`caddy_llm_metadata_cost_dollars_total{name="plan",value="gold"}`:           0.25,
		`caddy_llm_metadata_tokens_total{kind="input",name="team",value=""}`:        20,
		`caddy_llm_metadata_tokens_total{kind="output",name="team",value=""}`:       31,
		`caddy_llm_metadata_cost_dollars_total{name="team",value=""}`:               0.25,
		`caddy_llm_metadata_tokens_total{kind="input",name="plan",value=""}`:        20,
		`caddy_llm_metadata_tokens_total{kind="output",name="plan",value=""}`:       31,
		`caddy_llm_metadata_cost_dollars_total{name="plan",value=""}`:               0.25,
	}
	for series, value := range gather(t, m) {
		if n, ok := want[series]; ok && n == value {
			delete(want, series)
		} else if strings.HasPrefix(series, "caddy_llm_metadata_") {
			t.Errorf("counted %v as %s", value, series)
		}
	}
	if len(want) > 0 {
		t.Errorf("not counted: %v", want)
	}
}

// Whatever values clients have that are added while Caddy runs, their number
// stays bounded, and those of the config have their room all the same.
func TestValuesOfMetadataAreBounded(t *testing.T) {
	m := New()
	settle := func(value string, configured bool) {
		settleWith(t, m, Metadata{Names: []string{"team"}, Of: map[string]string{"team": value}, Configured: configured})
	}
	for i := range 1000 {
		settle(fmt.Sprintf("added-%d", i), false)
	}
	if n := len(byMetadata(t, m, "team")); n != maxValues+1 {
		t.Errorf("clients that were added have %d values", n)
	}
	for i := range maxConfiguredValues - maxValues - 1 {
		settle(fmt.Sprintf("named-%d", i), true)
	}
	calls := byMetadata(t, m, "team")
	if calls["named-0"] != 1 || calls[fmt.Sprintf("named-%d", maxConfiguredValues-maxValues-2)] != 1 {
		t.Errorf("values that the config names are not told apart: %v", calls)
	}
	before := len(calls)
	for i := range 1000 {
		settle(fmt.Sprintf("more-%d", i), true)
	}
	settle("", false)
	settle(strings.Repeat("x", maxValue+1), true)
	settle("\xff", true)
	calls = byMetadata(t, m, "team")
	if len(calls) > before+2 || calls[""] != 1 {
		t.Errorf("%d values of %d, and %v without", len(calls), before, calls[""])
	}
	total := 0.0
	for _, n := range calls {
		total += n
	}
	if want := 1000.0 + maxConfiguredValues - maxValues - 1 + 1000 + 3; total != want {
		t.Errorf("%v calls were counted of %v", total, want)
	}
}

// A value that is no label has no series of its own, be it the first.
func TestOddValueComesFirst(t *testing.T) {
	m := New()
	settleWith(t, m, Metadata{Names: []string{"team"}, Of: map[string]string{"team": "\xff"}})
	if calls := byMetadata(t, m, "team"); len(calls) != 1 || calls[other] != 1 {
		t.Errorf("counted %v", calls)
	}
}

// Reloads that choose other names again and again do not make ever more series.
func TestNamesOfMetadataAreBounded(t *testing.T) {
	m := New()
	for i := range 100 {
		settleWith(t, m, Metadata{Names: []string{fmt.Sprintf("name-%d", i)}, Of: map[string]string{fmt.Sprintf("name-%d", i): "x"}})
	}
	names := map[string]bool{}
	for series := range gather(t, m) {
		if rest, ok := strings.CutPrefix(series, `caddy_llm_metadata_calls_total{name="`); ok {
			name, _, _ := strings.Cut(rest, `"`)
			names[name] = true
		}
	}
	if len(names) != maxMetadata+1 || !names["name-0"] || byMetadata(t, m, other)[other] != 100-maxMetadata {
		t.Errorf("there are %v", names)
	}
}

// Counting by metadata allocates nothing, once the series are there, be they a
// client's own or those of the others.
func TestCountingByMetadataAllocatesNothing(t *testing.T) {
	m := New()
	for i := range maxConfiguredValues {
		settleWith(t, m, Metadata{Names: []string{"team"}, Of: map[string]string{"team": fmt.Sprint(i)}, Configured: true})
	}
	for _, value := range []string{"0", "beyond", ""} {
		s := settled(answeredCall(t))
		s.Metadata = Metadata{Names: []string{"team", "plan"}, Of: map[string]string{"team": value, "plan": "gold"}}
		m.Settle(s)
		if n := testing.AllocsPerRun(100, func() { m.Settle(s) }); n > 0 {
			t.Errorf("value %q: %v allocations", value, n)
		}
	}
}
