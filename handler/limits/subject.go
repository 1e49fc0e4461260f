// SPDX-License-Identifier: Apache-2.0

package limits

// Subject is somebody whose use is counted, with the rules that hold for it: a
// client, or a group whose members share what it may use. Make one with
// [Client] or [Group]; it must not be changed.
type Subject struct {
	// Name is the client's id or the group's name.
	Name string
	// Group says that it is a group.
	Group bool
	Rules []Rule
	// key is what the counts are kept under, and shard the part of the book.
	key   string
	shard uint8
}

// groupMark stands before the name of a group where counts are kept. It is a
// control character, which no client's id has: a client is kept under its id.
const groupMark = "\x01"

// Client returns the subject for a client.
func Client(id string, rules []Rule) *Subject {
	return newSubject(id, false, id, rules)
}

// Group returns the subject for a group.
func Group(name string, rules []Rule) *Subject {
	return newSubject(name, true, groupMark+name, rules)
}

func newSubject(name string, group bool, key string, rules []Rule) *Subject {
	return &Subject{Name: name, Group: group, Rules: rules, key: key, shard: shardOf(key)}
}
