// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"fmt"
	"sync"
)

// maxRefusals bounds how many models are known not to take a prefill.
const maxRefusals = 256

// prefills is which models of a provider go on from the beginning of their own
// answer, as far as we know.
type prefills struct {
	on      bool
	mu      sync.Mutex
	refused map[string]bool
}

// newPrefills reads the option prefill.
func newPrefills(option, family string) (*prefills, error) {
	switch option {
	case "on":
		return &prefills{on: true}, nil
	case "off":
		return &prefills{}, nil
	case "":
		// OpenAI's models answer anew; those that speak like it differ.
		return &prefills{on: family != "openai"}, nil
	default:
		return nil, fmt.Errorf("prefill: must be on or off, not %q", option)
	}
}

func (p *prefills) takes(model string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.on && !p.refused[model] && len(p.refused) < maxRefusals
}

func (p *prefills) refuse(model string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == nil {
		p.refused = map[string]bool{}
	}
	p.refused[model] = true
}
