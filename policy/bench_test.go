package policy

import (
	"fmt"
	"testing"
)

// table makes n rules of the shapes route tables have: one pattern in ten with
// a star, one with methods, each service with its admin corner.
func table(n int) []Rule {
	rules := []Rule{
		{Path: "/**", Upstream: "app", Allow: Allow{Audience: Authenticated}},
		{Path: "/*/health", Upstream: "app", Allow: Allow{Audience: Anyone}},
	}
	for i := 0; len(rules) < n; i++ {
		name := fmt.Sprintf("/service-%d", i)
		rules = append(rules,
			Rule{Path: name + "/health", Upstream: "app", Allow: Allow{Audience: Nobody}},
			Rule{Path: name + "/**", Upstream: "app", Allow: Allow{Audience: Anyone}},
			Rule{Path: name + "/admin/**", Upstream: "app", Allow: Allow{Audience: Roles, Roles: []string{"admin"}}},
			Rule{Path: name + "/items/*/notes", Methods: []string{"GET", "POST"}, Upstream: "app", Allow: Allow{Audience: Authenticated}},
		)
	}
	return rules[:n]
}

var caller = Caller{SignedIn: true, Roles: []string{"user", "admin"}}

func benchmark(b *testing.B, n int, target string) {
	p, err := Compile(table(n), Options{Prefix: "/auth"})
	if err != nil {
		b.Fatal(err)
	}
	r := Request{Method: "GET", Host: "app.example.com", Target: target}
	if d := p.Decide(r, caller); !d.OK() {
		b.Fatalf("%s: refused %s", target, d.Code)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(r, caller)
	}
}

const plainTarget = "/service-1/items/4711/notes?since=2024-01-01&limit=20"

func BenchmarkPlain10(b *testing.B)    { benchmark(b, 10, plainTarget) }
func BenchmarkPlain1000(b *testing.B)  { benchmark(b, 1000, plainTarget) }
func BenchmarkPlain10000(b *testing.B) { benchmark(b, 10000, plainTarget) }

// atBound and handedOn have exactly maxReadings readings; TestAtBound holds them to that.
const atBound = "/service-1./items%2Fa//4711:y/notes%3Fq"

func BenchmarkAmbiguousAtBound(b *testing.B) { benchmark(b, 10000, atBound) }

// handedOn gets most of them by way of a script.
const handedOn = "/service-1/run.php/;g/h.+"

func BenchmarkScriptAtBound(b *testing.B) { benchmark(b, 10000, handedOn) }

func TestAtBound(t *testing.T) {
	for _, target := range []string{atBound, handedOn} {
		all, _, _, ok := readings(target, nil)
		if !ok || len(all) != maxReadings {
			t.Errorf("readings of %s: got %d %v, want %d", target, len(all), ok, maxReadings)
		}
	}
}
