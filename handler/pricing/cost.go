// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"math"
	"math/bits"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// Cost is an amount of money in billionths of a US dollar.
type Cost int64

// billionths is how many of them are a dollar.
const billionths = 1e9

// fromUSD returns an amount of US dollars, to the nearest billionth.
func fromUSD(dollars float64) Cost {
	return Cost(math.Round(min(max(dollars*billionths, 0), math.MaxInt64/2)))
}

// USD returns the amount in US dollars.
func (c Cost) USD() float64 { return float64(c) / billionths }

// Call is what a cost depends on.
type Call struct {
	// Provider is the provider's name in the config, and Service what it is
	// known to be.
	Provider, Service string
	// Model is what the provider was asked for, and Answered the model that
	// it says has answered, if it does.
	Model, Answered string
	// ServiceTier is the tier of service at which it did.
	ServiceTier string
	// Order is what was asked for by the piece.
	Order wire.Order
	// Usage is what the answer took.
	Usage wire.Usage
}

// Cost returns what a call cost: what the provider says, or what the table
// makes of what the call took. It says false if the table does not know the
// model, or has no price for some of that; then the cost is that of the rest.
func (t *Table) Cost(c Call) (cost Cost, known bool) {
	if usd, stated := c.Usage.StatedCost(); stated {
		return fromUSD(usd), true
	}
	price := t.find(c)
	if price == nil {
		return 0, false
	}
	rates := price.rates(c.Usage.InputTotal(), tierOf(c.ServiceTier))
	if !c.Usage.Stated() && c.Usage.Images+c.Usage.Pages+c.Usage.SearchUnits+c.Order.Characters == 0 && !rates.flat() {
		return 0, false
	}
	b := bill{rates: rates}
	b.request()
	b.tokens(c.Usage)
	b.others(c.Usage)
	if c.Usage.InputTotal()+c.Usage.OutputTotal() == 0 {
		b.pieces(c)
	}
	return b.total(), !b.incomplete
}

// Estimate returns what a call is thought to cost of which nothing is known
// but the model that the client asks for, and how much it may read and
// generate. It says false if the table does not know the model.
func (t *Table) Estimate(model string, input, output int64) (cost Cost, known bool) {
	price := t.guess(model)
	if price == nil {
		return 0, false
	}
	b := bill{rates: price.rates(input, "")}
	b.request()
	b.add(unitInput, input)
	b.add(unitOutput, output)
	return b.total(), true
}

// tierOf returns the name that prices have for a provider's tier of service.
func tierOf(word string) string {
	if word == "batches" {
		return "batch"
	}
	return word
}

// bill adds up what is to be paid.
type bill struct {
	rates Rates
	// high and low are the sum, in what Rates count.
	high, low uint64
	// incomplete says that something has no price.
	incomplete bool
}

const (
	// maxCount bounds how much of anything is believed, so that no sum can
	// overflow.
	maxCount = 1 << 42
	// perBillionth is how many of what Rates count are a billionth.
	perBillionth = perDollar / billionths
)

// add adds so many of a unit.
func (b *bill) add(u Unit, n int64) {
	if n <= 0 {
		return
	}
	each, known := b.rates.of(u)
	b.incomplete = b.incomplete || !known
	b.sum(uint64(min(n, maxCount)), uint64(each))
}

func (b *bill) sum(n, each uint64) {
	high, low := bits.Mul64(n, each)
	var carry uint64
	b.low, carry = bits.Add64(b.low, low, 0)
	b.high, _ = bits.Add64(b.high, high, carry)
}

// total returns the sum, rounded to the nearest billionth.
func (b *bill) total() Cost {
	low, carry := bits.Add64(b.low, perBillionth/2, 0)
	high := b.high + carry
	if high >= perBillionth {
		return math.MaxInt64
	}
	sum, _ := bits.Div64(high, low, perBillionth)
	return Cost(min(sum, math.MaxInt64))
}

// request adds what a call costs by itself.
func (b *bill) request() {
	if _, known := b.rates.of(unitRequest); known {
		b.add(unitRequest, 1)
	}
}

// tokens adds the parts of what was read and generated, each at its price.
// Parts that would be more than the whole are cut.
func (b *bill) tokens(u wire.Usage) {
	input, output := u.Billed()
	take := func(from *int64, unit Unit, n int64) {
		n = min(max(n, 0), *from)
		*from -= n
		b.add(unit, n)
	}
	if input == u.InputTotal() {
		take(&input, unitAudioCacheRead, u.AudioCacheRead)
		take(&input, unitCacheRead, u.CacheRead-u.AudioCacheRead)
		take(&input, unitCacheWrite1h, u.CacheWrite1h)
		take(&input, unitCacheWrite, u.CacheWrite-u.CacheWrite1h)
	}
	take(&input, unitAudioInput, u.AudioInput-u.AudioCacheRead)
	take(&input, unitImageInput, u.ImageInput)
	b.add(unitInput, input)
	take(&output, unitAudioOutput, u.AudioOutput)
	take(&output, unitImageOutput, u.ImageOutput)
	take(&output, unitReasoning, u.Reasoning)
	b.add(unitOutput, output)
	b.add(unitInput, u.Aside.Input)
	b.add(unitOutput, u.Aside.Output)
	b.add(unitCacheRead, u.Aside.CacheRead)
	b.add(unitCacheWrite, u.Aside.CacheWrite)
}

// others adds what is not counted in tokens. Who prices tokens does not count
// seconds or pictures besides, unless there is a price for these too.
func (b *bill) others(u wire.Usage) {
	b.add(unitSearch, u.WebSearches+u.SearchUnits)
	b.add(unitPage, u.Pages)
	inTokens := u.InputTotal()+u.OutputTotal() > 0
	seconds := u.Seconds + u.Aside.Seconds
	each, known := b.rates.of(unitSecond)
	switch {
	case known:
		b.seconds(seconds, uint64(each))
	case seconds > 0 && !inTokens:
		b.incomplete = true
	}
}

// pieces adds what was ordered by the piece. A picture that has no price may
// have one for its pixels.
func (b *bill) pieces(c Call) {
	if !b.rates.flat() {
		b.add(unitCharacter, c.Order.Characters)
	}
	pixels := pixels(c.Order.Size)
	if _, known := b.rates.of(unitImage); !known && pixels > 0 {
		b.add(unitPixel, min(c.Usage.Images, maxCount/pixels)*pixels)
	} else {
		b.add(unitImage, c.Usage.Images)
	}
}

// seconds adds a length of sound, down to the microsecond.
func (b *bill) seconds(n float64, each uint64) {
	whole, part := math.Modf(min(max(n, 0), maxCount))
	b.sum(uint64(whole), each)
	high, low := bits.Mul64(uint64(part*1e6), each)
	rest, _ := bits.Div64(high, low, 1e6)
	b.sum(1, rest)
}
