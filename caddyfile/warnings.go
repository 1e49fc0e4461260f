// SPDX-License-Identifier: Apache-2.0

package caddyfile

// warn tells of what is allowed in a block but comes to nothing.
func (b *block) warn() {
	if len(b.transport.Providers) > 0 { // else they are written elsewhere
		b.admission.WarnOfPrices(b.transport.MayBegin)
	}
}
