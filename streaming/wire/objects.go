// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/url"
	"slices"
	"strings"
)

// maxObjects bounds how many stored objects are noticed in a request, and in
// an answer.
const maxObjects = 8

// storage is how a family names what it stores for its callers: responses,
// files, batches, caches. Such objects belong to the account of the key that
// made them, and no other key can find them.
type storage struct {
	// collections are the segments of paths behind which an object's id
	// stands, and notIDs what may stand there instead.
	collections, notIDs []string
	// qualified says that an object's name begins with its collection, such as
	// "files/abc". What has no collection in its name is of the bare one.
	qualified bool
	bare      string
}

// in returns the object that a path names, or one that another lies below; ""
// if there is none. The path has been checked, so it can be unescaped.
func (s *storage) in(path string) string {
	if s == nil {
		return ""
	}
	previous := ""
	for segment := range strings.SplitSeq(path, "/") {
		if slices.Contains(s.collections, previous) {
			id, _ := url.PathUnescape(segment)
			if s.qualified {
				id, _, _ = strings.Cut(id, ":") // a method, such as ":cancel"
				return previous + "/" + id
			}
			if slices.Contains(s.notIDs, id) {
				return ""
			}

			return id
		}
		previous = segment
	}

	return ""
}

// holds tells whether a path leads into a collection.
func (s *storage) holds(path string) bool {
	if s == nil {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if slices.Contains(s.collections, segment) {
			return true
		}
	}

	return false
}

// name returns an object's name, as a body or an answer has it, the way that
// paths have it; "" if it is none of this family's, such as a file on the web.
func (s *storage) name(text string) string {
	switch {
	case s == nil || text == "":
		return ""
	case !s.qualified:
		return text
	case !strings.Contains(text, "/"):
		return s.bare + "/" + text
	}
	if _, address, isURL := strings.Cut(text, "://"); isURL {
		_, path, _ := strings.Cut(address, "/")
		version, path := cutSegment("/" + path)
		if !isVersion(version) {
			return ""
		}
		text = path
	}

	return s.in(text)
}

// keeping is whether an answer can be asked for again by its id.
type keeping uint8

const (
	// keepsIfTold is if the request says "store": true, keepsUnlessTold if it
	// does not say "store": false. The zero value is never.
	keepsIfTold keeping = iota + 1
	keepsUnlessTold
)

// refer notes that the request names a stored object.
func (r *Request) refer(objects ...string) {
	for _, object := range objects {
		if object != "" && len(r.Objects) < maxObjects && !slices.Contains(r.Objects, object) {
			r.Objects = append(r.Objects, object)
		}
	}
}

// Made returns what the answer that s has read so far names of stored objects:
// those that it has made, itself included, or has found.
func (r *Request) Made(s *Scanner) []string {
	var made []string
	if r.kept {
		made = append(made, r.Family.storage.name(s.facts.answerID.String()))
	}
	for _, object := range s.facts.objects {
		made = append(made, r.Family.storage.name(object))
	}

	return slices.DeleteFunc(made, func(name string) bool { return name == "" })
}

// Named tells how many objects the answer has named so far.
func (s *Scanner) Named() int {
	if !s.facts.answerID.empty() {
		return len(s.facts.objects) + 1
	}

	return len(s.facts.objects)
}
