// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/zapcore"
)

// Bounds of a client's metadata, which stands in every line of the log about
// its calls.
const (
	maxMetadata      = 16
	maxMetadataName  = 64
	maxMetadataValue = 256
)

// checkMetadata refuses what does not belong into logs.
func checkMetadata(metadata map[string]string) error {
	if len(metadata) > maxMetadata {
		return fmt.Errorf("metadata: more than %d names", maxMetadata)
	}
	for name, value := range metadata {
		if !validMetadataName(name) {
			return fmt.Errorf("metadata %q: a name has up to %d letters, digits, underscores, dots and hyphens", name, maxMetadataName)
		}
		if len(value) > maxMetadataValue || !utf8.ValidString(value) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Errorf("metadata %s: a value has up to %d bytes, without control characters", name, maxMetadataValue)
		}
	}
	return nil
}

func validMetadataName(name string) bool {
	return name != "" && len(name) <= maxMetadataName && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.-", c)
	})
}

// metadata are logged as one object, in the order of their names.
type metadata map[string]string

// MarshalLogObject writes the metadata.
func (m metadata) MarshalLogObject(log zapcore.ObjectEncoder) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		log.AddString(name, m[name])
	}
	return nil
}

// parseMetadata parses "metadata <name> <value>".
func (c *Client) parseMetadata(d *caddyfile.Dispenser, args []string) error {
	if len(args) != 2 {
		return d.Errf("client %s: metadata: wants a name and a value, such as 'metadata team search'", c.ID)
	}
	if _, twice := c.Metadata[args[0]]; twice {
		return d.Errf("client %s: metadata %s: already specified", c.ID, args[0])
	}
	if c.Metadata == nil {
		c.Metadata = map[string]string{}
	}
	c.Metadata[args[0]] = args[1]
	if err := checkMetadata(c.Metadata); err != nil {
		return d.Errf("client %s: %v", c.ID, err)
	}
	return nil
}
