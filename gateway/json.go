package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
)

// maxBody is how much of a body of our own endpoints is read.
const maxBody = 64 << 10

// readJSON reads the request's body into v, strictly: see authn.DecodeJSON.
func readJSON(w *answer, r *http.Request, v any) error {
	if mediaType(r) != "application/json" {
		return refuse("UNSUPPORTED_MEDIA_TYPE")
	}
	data, err := readBody(w, r)
	if err != nil {
		return err
	}
	return authn.DecodeJSON(data, v)
}

// readOptionalJSON is readJSON for a body that may be left out, and its type
// with it.
func readOptionalJSON(w *answer, r *http.Request, v any) error {
	if r.Header.Get("Content-Type") != "" && mediaType(r) != "application/json" {
		return refuse("UNSUPPORTED_MEDIA_TYPE")
	}
	data, err := readBody(w, r)
	switch {
	case err != nil:
		return err
	case len(data) == 0:
		return nil
	case mediaType(r) != "application/json":
		return refuse("UNSUPPORTED_MEDIA_TYPE")
	}
	return authn.DecodeJSON(data, v)
}

// readBody reads the body up to maxBody. A body that ends early, stalls or
// trickles is the client's fault, not ours; of the last two nothing more is
// waited for.
func readBody(w *answer, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, refuse("BODY_TOO_LARGE")
	}
	body := &prompt{body: http.MaxBytesReader(w, r.Body, maxBody), by: time.Now().Add(w.limit)}
	data, err := io.ReadAll(body)
	var tooLarge *http.MaxBytesError
	var stalled *refusal
	switch {
	case errors.As(err, &stalled):
		if !w.http2 { // there, it would end every request of the connection
			w.Header().Set("Connection", "close")
		}
		return nil, stalled
	case errors.As(err, &tooLarge):
		return nil, refuse("BODY_TOO_LARGE")
	case err != nil:
		no := refuse("INVALID_INPUT")
		no.detail, no.cause = "The body did not arrive whole.", err
		return nil, no
	}
	return data, nil
}

// prompt is a short body, which must be there within the time that one chunk
// may take: the rolling deadline alone would wait a day for one that comes byte
// by byte, and nothing is known yet of who sends it.
type prompt struct {
	body io.Reader
	by   time.Time
}

func (p *prompt) Read(b []byte) (int, error) {
	if time.Now().After(p.by) {
		return 0, &refusal{code: "BAD_REQUEST", detail: "The request body came too slowly."}
	}
	return p.body.Read(b)
}

// mediaType is the Content-Type without its parameters; "" for an unreadable
// one or several. JSON is UTF-8, so another charset is another type.
func mediaType(r *http.Request) string {
	if len(r.Header.Values("Content-Type")) > 1 {
		return ""
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return kind
}

// require notes every field that was left out; decoded is what readJSON said,
// so that one answer lists all that is wrong.
func require(decoded error, fields ...field) error {
	var input *authn.InputError
	if decoded != nil && !errors.As(decoded, &input) {
		return decoded
	}
	if input == nil {
		input = &authn.InputError{}
	}
	for _, f := range fields {
		if f.value == "" && !names(input, f.name) {
			input.Add(f.name, "required", "is required")
		}
	}
	return input.OrNil()
}

// field is a text field of a body.
type field struct{ name, value string }

// complains reports whether err says that something is wrong with the field, or
// with the whole body.
func complains(err error, name string) bool {
	var input *authn.InputError
	return errors.As(err, &input) && names(input, name)
}

// names reports whether something is known to be wrong with the field, or with
// the whole body.
func names(e *authn.InputError, name string) bool {
	for _, f := range e.Fields {
		if f.Field == name || f.Field == "" {
			return true
		}
	}
	return false
}

// invalid is a refusal for one field.
func invalid(name, code, detail string) error {
	return &authn.InputError{Fields: []authn.FieldError{{Field: name, Code: code, Detail: detail}}}
}

// writeJSON answers with v.
func writeJSON(w *answer, status int, v any) error {
	return writeJSONAs(w, status, "application/json", v)
}

func writeJSONAs(w *answer, status int, contentType string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeBytes(w, status, contentType, append(data, '\n'))
}

// writeBytes answers with data. That the client is gone is nobody's error.
func writeBytes(w *answer, status int, contentType string, data []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data)
	return nil
}

// accepted answers 202: what was asked for happens by mail, if at all.
func accepted(w *answer) error {
	return writeJSON(w, http.StatusAccepted, struct{}{})
}

// noContent answers 204.
func noContent(w *answer) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
