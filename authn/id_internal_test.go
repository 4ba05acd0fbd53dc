package authn

import (
	"regexp"
	"testing"
	"time"
)

func TestNewID(t *testing.T) {
	shape := regexp.MustCompile(`^[a-v0-9]{26}$`)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	last, seen := "", map[string]bool{}
	for range 1000 {
		id := newID(now)
		if !shape.MatchString(id) || seen[id] {
			t.Fatalf("id %q: seen before %v", id, seen[id])
		}
		if id < last {
			t.Fatalf("%q sorts before %q, which is older", id, last)
		}
		if b, ok := idBytes(id); !ok || idString(b) != id {
			t.Fatalf("%q does not survive its bytes", id)
		}
		seen[id], last = true, id
		now = now.Add(time.Millisecond)
	}
	if id := newID(time.Unix(-1, 0)); !shape.MatchString(id) {
		t.Errorf("before 1970: %q", id)
	}
}

func TestIDBytesTakesOneSpelling(t *testing.T) {
	good := newID(time.Unix(1e9, 0))
	for name, id := range map[string]string{
		"empty": "", "short": good[:25], "long": good + "0", "capitals": "ABCDEFGHIJKLMNOPQRSTUV0000",
		"other letters": good[:25] + "z", "unused bits": good[:25] + "1", "line break": good[:25] + "\n", "multi-byte": good[:24] + "é",
	} {
		if _, ok := idBytes(id); ok {
			t.Errorf("%s: %q is taken for an id", name, id)
		}
	}
}
