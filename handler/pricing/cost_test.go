// SPDX-License-Identifier: Apache-2.0

package pricing

import (
	"math"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// usageOf reads what an answer to a request for path says that it took.
func usageOf(t *testing.T, path, answer string) (wire.Usage, string) {
	t.Helper()
	request, err := wire.Recognize(http.MethodPost, &url.URL{Path: path}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	s := wire.NewScanner(request.Operation, http.StatusOK, "application/json", "")
	defer s.Release()
	s.Write([]byte(answer))
	s.Close()
	result := s.Result()
	return result.Usage, result.ServiceTier
}

// priced returns prices in dollars for a million tokens, or for one of what is
// no token.
func priced(t *testing.T, prices map[Unit]float64) (r Rates) {
	t.Helper()
	for unit, dollars := range prices {
		if unit.PerMillion() {
			dollars /= 1e6
		}
		if err := r.Set(unit, dollars); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func tableOf(price Price) *Table {
	return NewTable([]Row{{Match: "*", Price: price}}, nil)
}

const (
	chat     = "/v1/chat/completions"
	messages = "/v1/messages"
	generate = "/v1beta/models/g:generateContent"
	converse = "/model/m/converse"
)

// What is inside of a total at one provider and outside at another is paid
// once, and at its own price.
func TestEachPartIsPaidOnceAtItsPrice(t *testing.T) {
	table := tableOf(Price{Rates: priced(t, map[Unit]float64{
		unitInput: 1, unitOutput: 10, unitCacheRead: 0.1, unitCacheWrite: 1.25, unitCacheWrite1h: 2, unitReasoning: 20,
		unitAudioInput: 100, unitAudioOutput: 200, unitAudioCacheRead: 3, unitImageInput: 5, unitImageOutput: 40, unitSearch: 0.01,
	})})
	for name, test := range map[string]struct {
		path, answer string
		want         float64 // in millionths of a dollar
	}{
		"plain":                     {chat, `{"usage":{"prompt_tokens":1000,"completion_tokens":100}}`, 1000 + 1000},
		"cached inside":             {chat, `{"usage":{"prompt_tokens":1000,"prompt_tokens_details":{"cached_tokens":400}}}`, 600 + 40},
		"cached outside":            {messages, `{"usage":{"input_tokens":600,"cache_read_input_tokens":400}}`, 600 + 40},
		"written":                   {messages, `{"usage":{"input_tokens":10,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}}`, 10 + 125 + 400},
		"written, outside":          {converse, `{"usage":{"inputTokens":10,"cacheWriteInputTokens":100,"totalTokens":110}}`, 10 + 125},
		"reasoning inside":          {chat, `{"usage":{"completion_tokens":100,"completion_tokens_details":{"reasoning_tokens":60}}}`, 400 + 1200},
		"reasoning outside":         {chat, `{"usage":{"prompt_tokens":1,"completion_tokens":40,"total_tokens":101,"completion_tokens_details":{"reasoning_tokens":60}}}`, 1 + 400 + 1200},
		"thoughts outside":          {generate, `{"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":40,"thoughtsTokenCount":60}}`, 1 + 400 + 1200},
		"prompts of tools":          {generate, `{"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":5}}`, 15},
		"hidden thoughts":           {chat, `{"usage":{"prompt_tokens":10,"completion_tokens":40,"total_tokens":60}}`, 10 + 500},
		"sound":                     {chat, `{"usage":{"prompt_tokens":10,"completion_tokens":9,"prompt_tokens_details":{"audio_tokens":4},"completion_tokens_details":{"audio_tokens":8}}}`, 6 + 400 + 10 + 1600},
		"sound and pictures":        {generate, `{"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":4},{"modality":"IMAGE","tokenCount":3},{"modality":"TEXT","tokenCount":3}],"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":5}]}}`, 3 + 400 + 15 + 200},
		"cached sound":              {generate, `{"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":8,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":6}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":5}]}}`, 15 + 0.3 + 100 + 1},
		"more cached than read":     {chat, `{"usage":{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":400}}}`, 1},
		"steps beside":              {messages, `{"usage":{"input_tokens":10,"output_tokens":1,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":10,"cache_read_input_tokens":50}]}}`, 10 + 10 + 100 + 100 + 5},
		"searches":                  {messages, `{"usage":{"input_tokens":10,"server_tool_use":{"web_search_requests":3}}}`, 10 + 30000},
		"billed less than was read": {"/v2/chat", `{"usage":{"billed_units":{"input_tokens":5,"output_tokens":7},"tokens":{"input_tokens":500,"output_tokens":8},"cached_tokens":400}}`, 5 + 70},
		"images in tokens":          {"/v1/images/generations", `{"data":[{},{}],"usage":{"input_tokens":10,"output_tokens":20,"input_tokens_details":{"image_tokens":4},"output_tokens_details":{"image_tokens":20}}}`, 6 + 20 + 800},
		"stated":                    {chat, `{"usage":{"prompt_tokens":10,"cost":0.25}}`, 250000},
		"stated as nothing":         {chat, `{"usage":{"prompt_tokens":10,"cost":0}}`, 0},
	} {
		usage, _ := usageOf(t, test.path, test.answer)
		got, known := table.Cost(Call{Model: "m", Usage: usage})
		if math.Abs(float64(got)-test.want*1000) > 0.5 || !known {
			t.Errorf("%s: %d billionths, known %t; want %v", name, got, known, test.want*1000)
		}
	}
}

// What is not counted in tokens is paid by the piece.
func TestWhatIsPaidByThePiece(t *testing.T) {
	for name, test := range map[string]struct {
		path, answer string
		prices       map[Unit]float64
		want         float64 // in dollars
	}{
		"seconds":               {"/v1/audio/transcriptions", `{"text":"a","usage":{"type":"duration","seconds":90.5}}`, map[Unit]float64{unitSecond: 0.0001}, 0.00905},
		"an odd price":          {"/v1/audio/transcriptions", `{"text":"a","usage":{"type":"duration","seconds":3600}}`, map[Unit]float64{unitSecond: 0.04 / 3600}, 0.04},
		"tokens, not seconds":   {chat, `{"usage":{"prompt_tokens":1000000,"prompt_audio_seconds":7}}`, map[Unit]float64{unitInput: 2}, 2},
		"images":                {"/v1/images/generations", `{"data":[{"url":"a"},{"url":"b"}]}`, map[Unit]float64{unitImage: 0.04}, 0.08},
		"search units":          {"/v2/rerank", `{"results":[],"meta":{"billed_units":{"search_units":2}}}`, map[Unit]float64{unitSearch: 0.002}, 0.004},
		"pages":                 {"/v1/ocr", `{"pages":[],"usage_info":{"pages_processed":3}}`, map[Unit]float64{unitPage: 0.001}, 0.003},
		"a request":             {chat, `{"usage":{"prompt_tokens":1000000}}`, map[Unit]float64{unitInput: 2, unitRequest: 0.005}, 2.005},
		"nothing but a request": {chat, `{"choices":[]}`, map[Unit]float64{unitRequest: 0.005}, 0.005},
		"free":                  {chat, `{"choices":[]}`, map[Unit]float64{unitInput: 0}, 0},
	} {
		usage, _ := usageOf(t, test.path, test.answer)
		got, known := tableOf(Price{Rates: priced(t, test.prices)}).Cost(Call{Model: "m", Usage: usage})
		if got != fromUSD(test.want) || !known {
			t.Errorf("%s: %v, known %t; want %v", name, got.USD(), known, test.want)
		}
	}
}

// What has no price is not taken for free.
func TestWhatHasNoPriceIsUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		path, answer string
		prices       map[Unit]float64
		want         float64 // in dollars: the part that has a price
	}{
		"no output price":  {chat, `{"usage":{"prompt_tokens":1000000,"completion_tokens":1}}`, map[Unit]float64{unitInput: 2}, 2},
		"no search price":  {messages, `{"usage":{"input_tokens":1000000,"server_tool_use":{"web_search_requests":3}}}`, map[Unit]float64{unitInput: 2}, 2},
		"no second price":  {"/v1/audio/transcriptions", `{"text":"a","usage":{"type":"duration","seconds":90}}`, map[Unit]float64{unitInput: 2}, 0},
		"no image price":   {"/v1/images/generations", `{"data":[{"url":"a"}]}`, map[Unit]float64{unitInput: 2}, 0},
		"nothing stated":   {chat, `{"choices":[]}`, map[Unit]float64{unitInput: 2}, 0},
		"no price at all":  {chat, `{"usage":{"prompt_tokens":1}}`, nil, 0},
		"media, unmetered": {"/v1/audio/speech", `ID3`, map[Unit]float64{unitInput: 2}, 0},
	} {
		usage, _ := usageOf(t, test.path, test.answer)
		got, known := tableOf(Price{Rates: priced(t, test.prices)}).Cost(Call{Model: "m", Usage: usage})
		if got != fromUSD(test.want) || known {
			t.Errorf("%s: %v, known %t", name, got.USD(), known)
		}
	}
	var none *Table
	if _, known := none.Cost(Call{Model: "m"}); known || !none.Empty() {
		t.Error("no table knows a price")
	}
	if cost, known := none.Estimate("m", 1, 1); known || cost != 0 {
		t.Error("no table knows a price")
	}
}

// A long prompt, and a tier of service, have prices of their own for the whole
// of the call.
func TestTiers(t *testing.T) {
	table := tableOf(Price{
		Rates: priced(t, map[Unit]float64{unitInput: 1, unitOutput: 10, unitCacheRead: 0.1}),
		Tiers: []Tier{
			{Service: "priority", Above: 200, Rates: priced(t, map[Unit]float64{unitInput: 6})},
			{Above: 200, Rates: priced(t, map[Unit]float64{unitInput: 2, unitOutput: 15})},
			{Service: "batch", Rates: priced(t, map[Unit]float64{unitInput: 0.5, unitOutput: 5})},
			{Service: "priority", Rates: priced(t, map[Unit]float64{unitInput: 3})},
			{Above: 100, Rates: priced(t, map[Unit]float64{unitInput: 1.5})},
		},
	})
	for _, test := range []struct {
		usage string
		want  Cost
	}{
		{`"usage":{"prompt_tokens":100,"completion_tokens":1}`, 100_000 + 10_000},
		{`"usage":{"prompt_tokens":101,"completion_tokens":1}`, 151_500 + 10_000},
		{`"usage":{"prompt_tokens":201,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":200}}`, 2_000 + 20_000 + 15_000},
		{`"service_tier":"default","usage":{"prompt_tokens":100}`, 100_000},
		{`"service_tier":"batch","usage":{"prompt_tokens":100,"completion_tokens":1}`, 50_000 + 5_000},
		{`"service_tier":"priority","usage":{"prompt_tokens":100}`, 300_000},
		{`"service_tier":"priority","usage":{"prompt_tokens":300}`, 1_800_000},
	} {
		usage, tier := usageOf(t, chat, "{"+test.usage+"}")
		if got, known := table.Cost(Call{Model: "m", Usage: usage, ServiceTier: tier}); got != test.want || !known {
			t.Errorf("%s: %d, known %t; want %d", test.usage, got, known, test.want)
		}
	}
}

// Sums are exact, whatever the prices and amounts, up to what a call is
// believed to take.
func TestSumsAreExact(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var b bill
		exact := new(big.Int)
		for range 1 + random.IntN(8) {
			unit := Unit(random.IntN(int(unitImage)))
			n := random.Int64N(1 << random.IntN(50))
			dollars := float64(random.Int64N(1e9)) / math.Pow10(random.IntN(12)+6)
			if err := b.rates.Set(unit, dollars); err != nil {
				t.Fatal(err)
			}
			b.add(unit, n)
			exact.Add(exact, new(big.Int).Mul(big.NewInt(min(n, maxCount)), big.NewInt(b.rates.each[unit])))
		}
		exact.Add(exact, big.NewInt(perBillionth/2)).Div(exact, big.NewInt(perBillionth))
		want := Cost(math.MaxInt64)
		if exact.IsInt64() {
			want = Cost(exact.Int64())
		}
		if got := b.total(); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	}
	b := bill{rates: Rates{each: [unitCount]int64{unitSecond: maxPrice * perDollar}}}
	b.seconds(math.Inf(1), maxPrice*perDollar)
	if b.total() != math.MaxInt64 {
		t.Error("an endless recording")
	}
	if err := b.rates.Set(unitInput, math.NaN()); err == nil {
		t.Error("no number is a price")
	}
}

func TestEstimate(t *testing.T) {
	table := NewTable([]Row{
		{Match: "azure/gpt-*", Price: Price{Rates: priced(t, map[Unit]float64{unitInput: 1, unitOutput: 2, unitRequest: 0.5})}},
		{Match: "gpt-4o", Price: Price{Rates: priced(t, map[Unit]float64{unitInput: 10, unitOutput: 20})}},
	}, List{"gpt-listed": &Price{Rates: priced(t, map[Unit]float64{unitInput: 5, unitOutput: 0})}})
	for model, want := range map[string]Cost{"gpt-4o": 10_000*100 + 20_000*10, "gpt-5": 1_000*100 + 2_000*10 + 5e8, "gpt-listed": 5_000 * 100, "other": 0, "": 0} {
		if got, known := table.Estimate(model, 100, 10); got != want || known != (want > 0) {
			t.Errorf("%s: %d, known %t; want %d", model, got, known, want)
		}
	}
}

// What no answer states is known from what was asked for: the length of a text
// that was spoken, the size and quality of pictures.
func TestWhatIsOrderedByThePiece(t *testing.T) {
	text, err := os.ReadFile("testdata/litellm.json")
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := ParseLiteLLM(text)
	if err != nil {
		t.Fatal(err)
	}
	const (
		speech = "/v1/audio/speech"
		draw   = "/v1/images/generations"
		two    = `{"data":[{"url":"a"},{"url":"b"}]}`
	)
	rows := []Row{
		{Match: "speaker", Price: Price{Rates: priced(t, map[Unit]float64{unitCharacter: 15})}},
		{Match: "free*", Price: Price{Rates: priced(t, map[Unit]float64{unitInput: 0, unitOutput: 0})}},
		{Match: "talker", Price: Price{Rates: priced(t, map[Unit]float64{unitInput: 1, unitCharacter: 15})}},
		{Match: "hd/*/painter", Price: Price{Rates: priced(t, map[Unit]float64{unitImage: 0.08})}},
		{Match: "painter", Price: Price{Rates: priced(t, map[Unit]float64{unitImage: 0.04, unitPixel: 1})}},
		{Match: "pixels", Price: Price{Rates: priced(t, map[Unit]float64{unitPixel: 0.02})}},
		{Match: "tokens", Price: Price{Rates: priced(t, map[Unit]float64{unitInput: 1})}},
	}
	table := NewTable(rows, list)
	for name, test := range map[string]struct {
		path, service, body, answer string
		want                        float64 // in dollars; less than nothing if unknown
	}{
		"characters":              {speech, "", `{"model":"speaker","input":"h\u00e9llo 世界"}`, "ID3", 8 * 15e-6},
		"characters, listed":      {speech, "", `{"model":"spoken","input":"` + strings.Repeat("x", 4096) + `"}`, "ID3", 4096 * 1.5e-5},
		"no text":                 {speech, "", `{"model":"speaker","input":["a"]}`, "ID3", -1},
		"not by character":        {speech, "", `{"model":"tokens","input":"hello"}`, "ID3", -1},
		"free":                    {speech, "", `{"model":"free","input":"hello"}`, "ID3", 0},
		"in tokens all the same":  {speech, "", `{"model":"talker","input":"hello"}`, `{"type":"speech.audio.done","usage":{"input_tokens":1000,"output_tokens":0,"total_tokens":1000}}`, 0.001},
		"not spoken":              {chat, "", `{"model":"talker","input":"hello"}`, `{"choices":[]}`, -1},
		"pictures":                {draw, "", `{"model":"painter"}`, two, 0.08},
		"pictures of a kind":      {draw, "", `{"model":"painter","quality":"hd","size":"1024x1792"}`, two, 0.16},
		"pixels":                  {draw, "", `{"model":"pixels","size":"1024x1792"}`, two, 2 * 1024 * 1792 * 0.02e-6},
		"pixels, usual size":      {draw, "", `{"model":"pixels"}`, two, 2 * 1024 * 1024 * 0.02e-6},
		"pixels, any size":        {draw, "", `{"model":"pixels","size":"auto"}`, two, -1},
		"pixels, huge":            {draw, "", `{"model":"pixels","size":"99999999x99999999"}`, two, -1},
		"listed by size":          {draw, "", `{"model":"sized","size":"256x256"}`, two, 2 * 256 * 256 * 2.4414e-7},
		"listed, usual":           {draw, "", `{"model":"graded"}`, two, 2 * 1024 * 1024 * 3.81469e-8},
		"listed by quality":       {draw, "", `{"model":"graded","size":"1024x1792","quality":"hd"}`, two, 2 * 1024 * 1792 * 6.539e-8},
		"listed for the provider": {draw, "azure", `{"model":"graded","size":"1024x1792","quality":"hd"}`, two, 2 * 1024 * 1792 * 8.1e-8},
		"another kind":            {draw, "", `{"model":"graded","size":"512x512"}`, two, -1},
		"listed by picture":       {draw, "", `{"model":"each","quality":"low","size":"1024x1024"}`, two, 0.022},
	} {
		request, err := wire.Recognize(http.MethodPost, &url.URL{Path: test.path}, http.Header{})
		if err == nil {
			err = request.ReadBody("application/json", []byte(test.body))
		}
		if err != nil {
			t.Fatal(err)
		}
		usage, _ := usageOf(t, test.path, test.answer)
		got, known := table.Cost(Call{Provider: "p", Service: test.service, Model: request.Model, Order: request.Order, Usage: usage})
		if known != (test.want >= 0) || known && got != fromUSD(test.want) {
			t.Errorf("%s: %v, known %t; want %v", name, got.USD(), known, test.want)
		}
	}
}

// A form says what is ordered as a document does.
func TestPicturesOrderedByAForm(t *testing.T) {
	request, err := wire.Recognize(http.MethodPost, &url.URL{Path: "/v1/images/edits"}, http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	const form = "--b\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\n512x512\r\n--b\r\nContent-Disposition: form-data; name=\"quality\"\r\n\r\nhd\r\n--b--\r\n"
	if err := request.ReadBody("multipart/form-data; boundary=b", []byte(form)); err != nil || request.Order != (wire.Order{Size: "512x512", Quality: "hd"}) {
		t.Errorf("%v, %+v", err, request.Order)
	}
}
