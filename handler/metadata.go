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

	"github.com/seed83435595/caddy-llm-proxy/streaming/syntax"
)

// Bounds of a client's metadata, which stands in every line of the log about
// its calls.
const (
	maxMetadata      = 16
	maxMetadataName  = 64
	maxMetadataValue = 256
	// maxCounted is how many of their names may count in metrics.
	maxCounted = 4
)

// checkMetadata refuses what does not belong into logs.
func checkMetadata(metadata map[string]string) error {
	if len(metadata) > maxMetadata {
		return fmt.Errorf("metadata: more than %d names", maxMetadata)
	}
	for name, value := range metadata {
		if err := checkMetadataName(name); err != nil {
			return fmt.Errorf("metadata %w", err)
		}
		if len(value) > maxMetadataValue || !utf8.ValidString(value) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return fmt.Errorf("metadata %s: a value has up to %d bytes, without control characters", name, maxMetadataValue)
		}
	}
	return nil
}

func checkMetadataName(name string) error {
	if name == "" || len(name) > maxMetadataName || strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.-", c)
	}) {
		return fmt.Errorf("%q: a name has up to %d letters, digits, underscores, dots and hyphens", name, maxMetadataName)
	}
	return nil
}

// checkMetricsMetadata refuses names that no client's metadata can have, and
// more of them than metrics can tell apart.
func (h *Handler) checkMetricsMetadata() error {
	if len(h.MetricsMetadata) > maxCounted {
		return fmt.Errorf("metrics_metadata: at most %d names can count: each has series of its own; what is rarely asked for can be summed up from the ledger", maxCounted)
	}
	for i, name := range h.MetricsMetadata {
		if err := checkMetadataName(name); err != nil {
			return fmt.Errorf("metrics_metadata %w", err)
		}
		if slices.Contains(h.MetricsMetadata[:i], name) {
			return fmt.Errorf("metrics_metadata %s: given twice", name)
		}
	}
	return nil
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

// parseMetricsMetadata parses "metrics_metadata <name>...".
func (h *Handler) parseMetricsMetadata(d *caddyfile.Dispenser) error {
	if h.MetricsMetadata != nil {
		return d.Err("metrics_metadata: already specified; all names stand in one line")
	}
	if h.MetricsMetadata = d.RemainingArgs(); len(h.MetricsMetadata) == 0 {
		return d.Err("metrics_metadata: wants the names of metadata that metrics count by, such as 'metrics_metadata team plan'")
	}
	h.metadataLine = syntax.At(d)
	return nil
}

// warnOfMetricsMetadata tells of names that no client has, while a Caddyfile is
// parsed. What a file or a store knows of clients is not known then.
func (h *Handler) warnOfMetricsMetadata() {
	if h.ClientsFile != "" || h.ClientsStore != "" {
		return
	}
	for _, name := range h.MetricsMetadata {
		if !slices.ContainsFunc(h.Clients, func(c *Client) bool { _, has := c.Metadata[name]; return has }) {
			h.metadataLine.Warn("metrics_metadata %s: no client has such metadata, so all calls count as having none", name)
		}
	}
}
