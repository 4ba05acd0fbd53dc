package policy

import "strings"

// compare says how a path meets the patterns.
type compare uint8

const (
	exact   compare = iota // as it is
	folded                 // a folded path against folded patterns
	lowered                // an ASCII path, folded on the way, likewise
)

// node is one segment of the trie. Depth is bounded by the longest pattern, and
// of the nodes at one depth a path reaches at most one for each arrangement of
// stars in use: the number of rules does not enter into the cost.
type node struct {
	literal map[string]*node
	star    *node
	here    *pattern // the pattern that ends here
	below   *pattern // the pattern that ends here in **
}

// put adds a pattern. The caller has made sure that its place is free.
func (n *node) put(p *pattern, segments []string) {
	for _, s := range segments {
		n = n.child(s)
	}
	if p.rest {
		n.below = p
	} else {
		n.here = p
	}
}

func (n *node) child(segment string) *node {
	if segment == star {
		if n.star == nil {
			n.star = &node{}
		}
		return n.star
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	c := n.literal[segment]
	if c == nil {
		c = &node{}
		n.literal[segment] = c
	}
	return c
}

// find returns the narrowest pattern that covers a path, given without its
// first slash. Compile has made sure that the patterns covering one path have a
// narrowest among them; being narrower than the others at every segment, it is
// the first that this order meets.
func (n *node) find(rest string, how compare) *pattern {
	if rest == "" {
		if n.here != nil {
			return n.here
		}
		return n.below
	}
	segment, next := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		segment, next = rest[:i], rest[i+1:]
	}
	if c := n.next(segment, how); c != nil {
		if p := c.find(next, how); p != nil {
			return p
		}
	}
	if n.star != nil {
		if p := n.star.find(next, how); p != nil {
			return p
		}
	}
	return n.below
}

func (n *node) next(segment string, how compare) *node {
	if n.literal == nil || len(segment) > maxSegment {
		return nil
	}
	if how != lowered {
		return n.literal[segment]
	}
	var room [maxSegment]byte
	for i := range len(segment) {
		room[i] = lower(segment[i])
	}
	return n.literal[string(room[:len(segment)])]
}

// overlapping visits the patterns that share a path with a pattern of these
// segments. Those it contains are left out below its **, where there may be
// thousands, unless narrower says that some segment so far was narrower than
// the tree's.
func (n *node) overlapping(segments []string, rest, narrower bool, visit func(*pattern)) {
	if n.below != nil {
		visit(n.below)
	}
	if len(segments) == 0 {
		if n.here != nil {
			visit(n.here)
		}
		if rest && narrower {
			n.children(func(c *node) { c.all(visit) })
		}
		return
	}
	next := segments[1:]
	if segments[0] == star {
		n.children(func(c *node) { c.overlapping(next, rest, narrower, visit) })
		return
	}
	if c := n.literal[segments[0]]; c != nil {
		c.overlapping(next, rest, narrower, visit)
	}
	if n.star != nil {
		n.star.overlapping(next, rest, true, visit)
	}
}

func (n *node) children(visit func(*node)) {
	for _, c := range n.literal {
		visit(c)
	}
	if n.star != nil {
		visit(n.star)
	}
}

func (n *node) all(visit func(*pattern)) {
	if n.here != nil {
		visit(n.here)
	}
	if n.below != nil {
		visit(n.below)
	}
	n.children(func(c *node) { c.all(visit) })
}
