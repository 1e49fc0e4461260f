// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"cmp"
	"net/http"
	"sync"

	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// maxRefusals bounds how many models are known not to take something.
const maxRefusals = 256

// feature is something that may be sent to a provider's models, as far as we
// know which of them take it.
type feature struct {
	on      bool
	mu      sync.Mutex
	refused map[string]bool
}

func (f *feature) takes(model string) bool {
	if !f.on {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.refused[model] && len(f.refused) < maxRefusals
}

// refuse notes that a model does not take it.
func (f *feature) refuse(model string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused == nil {
		f.refused = map[string]bool{}
	}
	f.refused[model] = true
}

// newPrefills reads the option prefill: on, off or nothing.
func newPrefills(option, family string) *feature {
	if option == "" {
		// OpenAI's models answer anew; those that speak like it differ.
		return &feature{on: family != "openai"}
	}
	return &feature{on: option == "on"}
}

// What is done about the usage of streams that do not state it by themselves.
const (
	usageInject  = "inject"
	usageObserve = "observe"
)

var usageModes = []string{usageInject, usageObserve}

// newAsks reads the option usage: the provider's own, or else that of the
// transport, or else what is known of the service.
func newAsks(own, general string, service *wire.Service) *feature {
	habit := wire.UsageUnknown
	if service != nil {
		habit = service.Usage
	}
	switch cmp.Or(own, general) {
	case usageInject:
		return &feature{on: own != "" || habit != wire.UsageUnasked}
	case usageObserve:
		return &feature{}
	default:
		return &feature{on: habit == wire.UsageAsked}
	}
}

// encoded tells whether an answer is compressed, so that nothing can be taken
// out of it.
func encoded(h http.Header) bool {
	encoding := h.Get("Content-Encoding")
	return encoding != "" && encoding != "identity"
}
