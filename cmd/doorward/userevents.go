package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// event is an event as the control handlers show it.
type event struct {
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`
	Kind      string            `json:"kind"`
	Actor     *string           `json:"actor"`
	Subject   *string           `json:"subject"`
	Session   *string           `json:"session"`
	ClientIP  *string           `json:"client_ip"`
	RequestID *string           `json:"request_id"`
	Detail    map[string]string `json:"detail"`
}

// eventPage is a page of the security log, and where the next one begins.
type eventPage struct {
	Events []event `json:"events"`
	Next   *string `json:"next"`
}

func (p *program) userEvents() *cobra.Command {
	var kind, after string
	cmd := &cobra.Command{
		Use:   "events LOGIN [--kind K] [--after ID] [--output json]",
		Short: "List what the security log has of an account, newest first",
		RunE: p.withClient(func(c *call, args []string) error {
			u, err := c.user(c.ctx, args[0])
			if err != nil {
				return err
			}
			query := url.Values{"user": {u.ID}}
			if kind != "" {
				query.Set("kind", kind)
			}
			if after != "" {
				query.Set("after", after)
			}
			var got eventPage
			if err := c.call(c.ctx, "GET", "/admin/events?"+query.Encode(), nil, &got); err != nil {
				return err
			}
			return p.printEvents(got, u.ID)
		}),
	}
	cmd.Flags().StringVar(&kind, "kind", "", "only events of this kind, such as sign_in.failed")
	cmd.Flags().StringVar(&after, "after", "", "go on after the event with this id")
	p.addOutput(cmd)
	return cmd
}

func (p *program) printEvents(page eventPage, user string) error {
	if p.output == "json" {
		return p.printJSON(page)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tEVENT\tBY\tADDRESS\tDETAIL")
	for _, e := range page.Events {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", stamp(e.Time), e.Kind, e.by(user), orDash(e.ClientIP), visible(e.details(user)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if page.Next != nil {
		fmt.Fprintf(p.stderr, "doorward: there are older ones: --after %s\n", *page.Next)
	}
	return nil
}

// by is who did it: "-" for the account's own person.
func (e event) by(user string) string {
	if e.Actor != nil && *e.Actor == user {
		return "-"
	}
	return orDash(e.Actor)
}

// details is what else there is to an event, and to whom it happened where that
// is somebody else.
func (e event) details(user string) string {
	var all []string
	if e.Subject != nil && *e.Subject != user {
		all = append(all, "subject="+*e.Subject)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		all = append(all, name+"="+e.Detail[name])
	}
	return strings.Join(all, " ")
}
