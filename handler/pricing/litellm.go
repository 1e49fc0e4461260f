// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ParseLiteLLM reads prices in the format of LiteLLM's file
// model_prices_and_context_window.json: a JSON object with one for each model,
// in which prices are US dollars for one token, second, image and so on. It
// also returns the names of the models whose prices make no sense, which are
// left out. What else the file says is not looked at.
func ParseLiteLLM(text []byte) (list List, senseless []string, err error) {
	var models map[string]json.RawMessage
	if err := json.Unmarshal(text, &models); err != nil {
		return nil, nil, fmt.Errorf("reading prices: %w", err)
	}
	list = make(List, len(models))
	for name, text := range models {
		if name == "sample_spec" || name == "fallback_generalizations" {
			continue
		}
		price, err := parseEntry(text)
		if err != nil {
			senseless = append(senseless, name)
		} else if price != nil {
			list[name] = price
		}
	}
	if len(list) == 0 {
		return nil, nil, errors.New("reading prices: no model has a price")
	}
	slices.Sort(senseless)
	return list, senseless, nil
}

// parseEntry reads the prices of one model. It returns nil if there are none
// of what we count.
func parseEntry(text []byte) (*Price, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	var entry entry
	// Of models that make pictures, some have theirs there.
	if _, other := fields["output_cost_per_image"]; !other && string(fields["mode"]) == `"image_generation"` {
		fields["output_cost_per_image"] = fields["input_cost_per_image"]
	}
	// In order, so that of two keys for one price always the same counts.
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if err := entry.set(key, fields[key]); err != nil {
			return nil, err
		}
	}
	price := entry.price
	if price.empty() && len(price.Tiers) == 0 {
		return nil, nil
	}
	return &price, nil
}

// entry is a model's prices while they are read.
type entry struct{ price Price }

// fieldUnits are what the fields are the price of. Of two for the same, the one
// that comes later in the alphabet is only taken where there is no other.
var fieldUnits = map[string]Unit{
	"input_cost_per_token":                      unitInput,
	"output_cost_per_token":                     unitOutput,
	"cache_read_input_token_cost":               unitCacheRead,
	"input_cost_per_token_cache_hit":            unitCacheRead,
	"cache_creation_input_token_cost":           unitCacheWrite,
	"cache_creation_input_token_cost_above_1hr": unitCacheWrite1h,
	"output_cost_per_reasoning_token":           unitReasoning,
	"input_cost_per_audio_token":                unitAudioInput,
	"output_cost_per_audio_token":               unitAudioOutput,
	"cache_read_input_audio_token_cost":         unitAudioCacheRead,
	"input_cost_per_image_token":                unitImageInput,
	"output_cost_per_image_token":               unitImageOutput,
	"input_cost_per_character":                  unitCharacter,
	"input_cost_per_pixel":                      unitPixel,
	"output_cost_per_pixel":                     unitPixel,
	"output_cost_per_image":                     unitImage,
	"input_cost_per_request":                    unitRequest,
	"input_cost_per_second":                     unitSecond,
	"output_cost_per_second":                    unitSecond,
	"input_cost_per_query":                      unitSearch,
	"ocr_cost_per_page":                         unitPage,
}

var (
	fieldTier  = regexp.MustCompile(`_above_(\d+)k_tokens`)
	fieldGrade = regexp.MustCompile(`_(batches|flex|priority)$`)
)

// set takes one field.
func (e *entry) set(key string, text json.RawMessage) error {
	switch key {
	case "tiered_pricing":
		return e.setTiers(text)
	case "search_context_cost_per_query":
		return e.setSearch(text)
	}
	var above int64
	var service string
	if grade := fieldGrade.FindStringSubmatch(key); grade != nil {
		key, service = strings.TrimSuffix(key, grade[0]), tierOf(grade[1])
	}
	if tier := fieldTier.FindStringSubmatch(key); tier != nil {
		thousands, err := strconv.ParseInt(tier[1], 10, 32)
		if err != nil {
			return err
		}
		key, above = strings.Replace(key, tier[0], "", 1), thousands*1000
	}
	unit, priced := fieldUnits[key]
	if !priced || text == nil || string(text) == "null" {
		return nil
	}
	var dollars float64
	if err := json.Unmarshal(text, &dollars); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	rates := e.rates(above, service)
	if rates.known&(1<<unit) != 0 {
		return nil
	}
	return rates.Set(unit, dollars)
}

// rates returns the prices that hold above a number of tokens and at a tier of
// service.
func (e *entry) rates(above int64, service string) *Rates {
	if above == 0 && service == "" {
		return &e.price.Rates
	}
	for i := range e.price.Tiers {
		if tier := &e.price.Tiers[i]; tier.Above == above && tier.Service == service {
			return &tier.Rates
		}
	}
	e.price.Tiers = append(e.price.Tiers, Tier{Above: above, Service: service})
	return &e.price.Tiers[len(e.price.Tiers)-1].Rates
}

// setTiers takes prices by the number of input tokens. Lists of search engines
// have tiers of other things, which have no range.
func (e *entry) setTiers(text json.RawMessage) error {
	var tiers []map[string]json.RawMessage
	if err := json.Unmarshal(text, &tiers); err != nil {
		return fmt.Errorf("tiered_pricing: %w", err)
	}
	for _, tier := range tiers {
		var span []float64
		if err := json.Unmarshal(tier["range"], &span); err != nil || len(span) == 0 || !(span[0] >= 0 && span[0] <= maxCount) {
			continue
		}
		// The number belongs to the tier below, as elsewhere.
		rates := e.rates(int64(span[0]), "")
		for key, text := range tier {
			unit, priced := fieldUnits[key]
			if !priced {
				continue
			}
			var dollars float64
			if err := json.Unmarshal(text, &dollars); err != nil {
				return fmt.Errorf("tiered_pricing: %s: %w", key, err)
			}
			if err := rates.Set(unit, dollars); err != nil {
				return err
			}
		}
	}
	return nil
}

// setSearch takes the price of a search of the web, for a context of ordinary
// size: an answer does not say which size it had.
func (e *entry) setSearch(text json.RawMessage) error {
	var sizes map[string]float64
	if err := json.Unmarshal(text, &sizes); err != nil {
		return fmt.Errorf("search_context_cost_per_query: %w", err)
	}
	for _, size := range []string{"search_context_size_medium", "search_context_size_high", "search_context_size_low"} {
		if dollars, ok := sizes[size]; ok {
			return e.price.Set(unitSearch, dollars)
		}
	}
	return nil
}
