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

	// RequireGroup refuses those who belong to none of the groups that the
	// config has. Default: false, they are only bound by what holds for
	// everybody.
	RequireGroup bool `json:"require_group,omitempty"`
}

// check refuses groups that nobody has defined, and a requirement that is always
// met.
func (m *Membership) check(who *Callers) error {
	if m.RequireGroup && len(m.Groups) > 0 {
		return errors.New("require_group: 'group' gives one to everybody, so nobody would be refused; leave one of the two out")
	}
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

// place puts a caller who is said to belong to some groups into those that the
// config knows. The others are left out, and said once.
func (m *Membership) place(g *grant, who *Callers, named []string) {
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
	g.groups, g.outside = groups, m.RequireGroup && len(groups) == 0
}

// options are "group <name>...", "map_group <name> <group>" and "require_group".
func (m *Membership) options() options {
	return options{"group": &m.Groups, "map_group": m.mapGroup, "require_group": &m.RequireGroup}
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
