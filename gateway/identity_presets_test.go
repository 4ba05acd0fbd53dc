package gateway

import (
	"strings"
	"testing"
)

// A backend that was moved here may still trust the headers of its last
// gateway: whichever preset is in use, no name of any of them is a client's to
// send. The names are written out once more, for a table that lost one must be
// noticed.
func TestNoPresetsHeadersComeFromTheClient(t *testing.T) {
	names := []string{
		"X-Forwarded-User", "X-Forwarded-User-Id", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
		"Remote-User", "Remote-User-Id", "Remote-Email", "Remote-Groups", "Remote-Name",
		"X-Auth-Request-User", "X-Auth-Request-User-Id", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
	}
	for preset := range presets {
		t.Run(preset, func(t *testing.T) {
			up := newRecorder(t, plainAnswer)
			g := newGateway(t, func(c *Config) {
				behind(up.url(), to("/**", anybody))(c)
				c.Identity.Preset = preset
			})
			ann := g.person(t, "ann", "user")
			for _, from := range []string{"Accept: */*", ann.bearer} {
				var lines []string
				for _, name := range names {
					lines = append(lines, name+": forged", strings.ReplaceAll(name, "-", "_")+": forged")
				}
				rawGet(t, g.addr, "/", append(lines, from)...)
				if head := up.last(t).head; strings.Contains(head, "forged") {
					t.Errorf("the backend got a header the client made up:\n%s", head)
				}
			}
		})
	}
}
