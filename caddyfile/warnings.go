// SPDX-License-Identifier: Apache-2.0

package caddyfile

// warn tells of what is allowed in a block but comes to nothing.
func (b *block) warn() {
	if len(b.transport.Providers) == 0 { // they are written elsewhere
		return
	}
	b.admission.WarnOfPrices(b.transport.MayBegin)
	var names []string
	for _, provider := range b.transport.Providers {
		names = append(names, provider.Name)
	}
	b.admission.WarnOfProviders(names)
}
