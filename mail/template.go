package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	texttemplate "text/template"
)

//go:embed templates
var builtIn embed.FS

// Kinds are the mails there are. Each has templates KIND.txt, whose first line
// is "Subject: ...", and KIND.html.
var Kinds = []string{
	"verify_email",        // prove the address of an account
	"verify_change",       // prove the address an account is to have
	"verify_registration", // prove an address before there is an account
	"reset_password",      // a link that sets a new password
	"invitation",          // an account was made for you: choose a password
	"address_in_use",      // someone tried to register with your address
	"password_changed",    // a notice
	"email_changed",       // a notice to the old address
	"new_device",          // a notice
}

// Data is what a template may say.
type Data struct {
	Name     string // what the person is called; "" if nobody knows, or the address is not proven
	Login    string // what they sign in with; "" for an account that has no name
	Username string // the account's, or what was chosen at registration; "" for none
	Link     string // what to open; "" in notices
	Expires  string // when the link stops working, in words
	Service  string // the public URL of the gateway
	Where    string // the client's address, where it matters
	Device   string // the client's user agent, where it matters
	When     string // when it happened
	NewEmail string // for email_changed
}

// Templates are parsed once and render any number of mails at once.
type Templates struct {
	text map[string]*texttemplate.Template
	html map[string]*htmltemplate.Template
}

// LoadTemplates parses the built-in templates and, where dir is not empty, the
// files of dir in their place. A file of another name is an error, since it
// would be a misspelt one; so is a template that cannot be rendered.
func LoadTemplates(dir string) (*Templates, error) {
	embedded, err := fs.Sub(builtIn, "templates")
	if err != nil {
		return nil, err
	}
	own := fs.FS(nil)
	if dir != "" {
		own = os.DirFS(dir)
		if err := checkNames(own, dir); err != nil {
			return nil, err
		}
	}
	t := &Templates{text: map[string]*texttemplate.Template{}, html: map[string]*htmltemplate.Template{}}
	for _, kind := range Kinds {
		text, err := readTemplate(own, embedded, kind+".txt")
		if err != nil {
			return nil, err
		}
		if t.text[kind], err = texttemplate.New(kind + ".txt").Option("missingkey=error").Parse(text); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, kind+".txt"), err)
		}
		html, err := readTemplate(own, embedded, kind+".html")
		if err != nil {
			return nil, err
		}
		if t.html[kind], err = htmltemplate.New(kind + ".html").Option("missingkey=error").Parse(html); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, kind+".html"), err)
		}
		if _, err := t.Render(kind, sample); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, kind), err)
		}
	}
	return t, nil
}

// sample has every field, so that a template that names one there is not fails
// when it is loaded and not when somebody waits for the mail.
var sample = Data{
	Name: "Sam Example", Login: "sam", Username: "sam", Link: "https://app.example.com/auth/verify-email?token=x",
	Expires: "in an hour", Service: "https://app.example.com", Where: "192.0.2.1", Device: "a browser", When: "just now",
	NewEmail: "new@example.com",
}

func checkNames(own fs.FS, dir string) error {
	entries, err := fs.ReadDir(own, ".")
	if err != nil {
		return fmt.Errorf("mail.templates: %w", err)
	}
	for _, e := range entries {
		kind, isText := strings.CutSuffix(e.Name(), ".txt")
		if !isText {
			kind, _ = strings.CutSuffix(e.Name(), ".html")
		}
		if !slices.Contains(Kinds, kind) || kind == e.Name() {
			return fmt.Errorf("mail.templates: %s is not a template: name it after one of %s, ending in .txt or .html",
				filepath.Join(dir, e.Name()), strings.Join(Kinds, ", "))
		}
	}
	return nil
}

func readTemplate(own, embedded fs.FS, name string) (string, error) {
	if own != nil {
		data, err := fs.ReadFile(own, name)
		if err == nil {
			return string(data), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("mail.templates: %w", err)
		}
	}
	data, err := fs.ReadFile(embedded, name)
	return string(data), err
}

// Render makes the subject and both bodies of a mail; ID, To and Date are left
// to the caller. What people have written about themselves goes through one
// line in the text and is escaped in the HTML.
func (t *Templates) Render(kind string, d Data) (Message, error) {
	text, html := t.text[kind], t.html[kind]
	if text == nil || html == nil {
		return Message{}, fmt.Errorf("there is no mail %q", kind)
	}
	d = d.onOneLine()
	var body bytes.Buffer
	if err := text.Execute(&body, d); err != nil {
		return Message{}, err
	}
	subject, rest, ok := strings.Cut(body.String(), "\n")
	subject, isSubject := strings.CutPrefix(strings.TrimSpace(subject), "Subject: ")
	if !ok || !isSubject || subject == "" {
		return Message{}, errors.New(`the first line must be "Subject: " and the subject`)
	}
	var page bytes.Buffer
	if err := html.Execute(&page, d); err != nil {
		return Message{}, err
	}
	return Message{Subject: subject, Text: strings.TrimLeft(rest, "\n"), HTML: page.String()}, nil
}

// onOneLine folds line breaks and other controls, so that nobody's name can
// look like a paragraph of ours.
func (d Data) onOneLine() Data {
	for _, s := range []*string{&d.Name, &d.Login, &d.Username, &d.Link, &d.Expires, &d.Service, &d.Where, &d.Device, &d.When, &d.NewEmail} {
		*s = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' {
				return ' '
			}
			return r
		}, *s)
	}
	return d
}
