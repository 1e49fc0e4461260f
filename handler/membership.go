// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Membership is which groups callers belong to for whom somebody else vouches,
// and whom the config does not know.
type Membership struct {
	// Groups are those that all of these callers belong to. Default: none.
	Groups []string `json:"groups,omitempty"`

	// GroupNames say which group is meant by a name that vouchers use.
	// Default: the group of that name.
	GroupNames map[string]string `json:"group_names,omitempty"`
}

// check refuses groups that nobody has defined.
func (m *Membership) check(who *Callers) error {
	if err := who.checkGroups(m.Groups); err != nil {
		return err
	}
	for _, group := range slices.Sorted(maps.Values(m.GroupNames)) {
		if err := who.checkGroups([]string{group}); err != nil {
			return fmt.Errorf("map_group: %w", err)
		}
	}
	return nil
}

// of returns the groups of a caller who is said to belong to some. Those that
// the config does not know give nothing, and are said once.
func (m *Membership) of(who *Callers, named []string) []string {
	groups := slices.Clip(m.Groups)
	for _, name := range named {
		group, mapped := m.GroupNames[name]
		if !mapped {
			group = name
		}
		if _, known := who.groups[group]; !known {
			who.tellOfGroup(name)
			continue
		}
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups
}

// options are "group <name>..." and "map_group <name> <group>".
func (m *Membership) options() options {
	return options{"group": &m.Groups, "map_group": m.mapGroup}
}

func (m *Membership) mapGroup(args []string) error {
	if len(args) != 2 {
		return errors.New("wants a name and the group that it means, such as 'map_group /eng staff'")
	}
	if _, twice := m.GroupNames[args[0]]; twice {
		return fmt.Errorf("%s: %w", args[0], errTwice)
	}
	if m.GroupNames == nil {
		m.GroupNames = map[string]string{}
	}
	m.GroupNames[args[0]] = args[1]
	return nil
}
