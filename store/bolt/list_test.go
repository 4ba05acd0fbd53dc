package bolt

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/doorward/doorward/authn"
)

// TestCommonPrefixIsWalked: the matches of a prefix are found in two ways, by
// how many there are, and the answer is the same.
func TestCommonPrefixIsWalked(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "doorward.db"))
	const n = 300
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		for i := range n {
			u := person(i)
			u.Active = i%3 != 0
			if i%7 == 0 {
				u.Roles = []string{"staff"}
			}
			if i%5 == 0 {
				u.Name = "Somebody else"
			}
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	err = s.View(t.Context(), func(x authn.Tx) error {
		for name, q := range map[string]authn.UserQuery{
			"the first":        {Limit: 10},
			"the last":         {Limit: 10, Skip: n - 10},
			"past the end":     {Limit: 10, Skip: n},
			"counted":          {Limit: 10, CountTo: n},
			"counted in part":  {Limit: 10, CountTo: 20},
			"behind one":       {Limit: 10, After: person(200).ID},
			"behind, counted":  {Limit: 10, After: person(200).ID, CountTo: n},
			"active":           {Limit: 50, Active: &yes, CountTo: n},
			"inactive, role":   {Limit: 50, Active: &no, Role: "staff", CountTo: n},
			"role, page three": {Limit: 5, Skip: 10, Role: "user"},
		} {
			for _, prefix := range []string{"user", "URSULA", "somebody", "user1", "nobody"} {
				q.Prefix = prefix
				ids, all := x.(*tx).idsByPrefix(prefix, 0)
				gathered := listing{q: q, t: x.(*tx)}
				gathered.each(ids)
				walked, done := listing{q: q, t: x.(*tx)}.walk()
				if !all || !done || gathered.err != nil || !reflect.DeepEqual(walked.page, gathered.page) {
					t.Errorf("%s %q: walked %d of %d, gathered %d of %d", name, prefix,
						len(walked.page.Users), walked.page.Total, len(gathered.page.Users), gathered.page.Total)
				}
			}
		}
		if ids, all := x.(*tx).idsByPrefix("user", n/2); all || ids != nil {
			t.Errorf("more than wanted: got %d ids, all %v", len(ids), all)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
