// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// ID names a path to the caller. Zero is "not of interest".
type ID uint8

// maxSteps bounds how deep a path may lead, and maxKey how long one of its
// keys may be, so that even a key that is escaped throughout fits the
// scanner's buffer.
const (
	maxSteps = 12
	maxKey   = MaxValue / len(`\u0000`)
)

// Paths are the places in a JSON text that somebody wants to know about. They
// are immutable, but for what scanners learn, and may be shared by any number of scanners.
type Paths struct {
	// nodes is the tree of all paths; the first is the root value.
	nodes []node
	// forms are how texts are built; nil unless scanners are to learn that.
	forms *forms
	// anyCase says that the case of keys does not matter.
	anyCase bool
}

// node is one place in a JSON text.
type node struct {
	id ID
	// element is the node of an array's elements, or none.
	element int16
	// members are the nodes of an object's members.
	members []member
	// pieces says that a string is also handed on in pieces.
	pieces bool
}

type member struct {
	key  []byte
	node int16
}

// none is the node of whatever nobody wants to know about.
const none int16 = -1

// Compile prepares paths such as "choices.*.delta.content", in which keys are
// divided by dots, "*" is any element of an array, and the empty path is the
// root value itself. It panics on a path that no text could match or that
// leads too deep: paths are written by programmers.
func Compile(paths map[string]ID) *Paths {
	p := &Paths{nodes: []node{{element: none}}}
	for path, id := range paths {
		if id == 0 {
			panic(fmt.Sprintf("jsonscan: path %q has no id", path))
		}
		at := int16(0)
		if path != "" {
			steps := strings.Split(path, ".")
			if len(steps) > maxSteps {
				panic(fmt.Sprintf("jsonscan: path %q has more than %d steps", path, maxSteps))
			}
			for _, step := range steps {
				if step == "" || len(step) > maxKey {
					panic(fmt.Sprintf("jsonscan: path %q has an empty step or one longer than %d bytes", path, maxKey))
				}
				at = p.child(at, step)
			}
		}
		p.nodes[at].id = id
	}

	return p
}

// InPieces makes strings at the paths of that id be handed on in pieces as
// well. A visitor must be a [PieceVisitor] then. It returns p, and is for the
// time before p is used.
func (p *Paths) InPieces(id ID) *Paths {
	for i := range p.nodes {
		p.nodes[i].pieces = p.nodes[i].pieces || p.nodes[i].id == id
	}

	return p
}

// AnyCase makes keys count whatever the case of their letters is, as they do for
// some decoders, such as Go's. It returns p, and is for the time before p is
// used.
func (p *Paths) AnyCase() *Paths {
	p.anyCase = true

	return p
}

// child returns the node that one step leads to, which is made if need be.
func (p *Paths) child(at int16, step string) int16 {
	if step == "*" {
		if p.nodes[at].element == none {
			p.nodes[at].element = p.add()
		}

		return p.nodes[at].element
	}
	known := p.nodes[at].members
	if i := slices.IndexFunc(known, func(m member) bool { return string(m.key) == step }); i >= 0 {
		return known[i].node
	}
	made := p.add()
	p.nodes[at].members = append(known, member{[]byte(step), made})

	return made
}

func (p *Paths) add() int16 {
	p.nodes = append(p.nodes, node{element: none})

	return int16(len(p.nodes) - 1)
}

// member returns the node of an object's member, by its plain key.
func (p *Paths) member(at int16, key []byte) int16 {
	for i := range p.nodes[at].members {
		m := &p.nodes[at].members[i]
		if bytes.Equal(m.key, key) || p.anyCase && bytes.EqualFold(m.key, key) {
			return m.node
		}
	}

	return none
}
