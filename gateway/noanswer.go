package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// failed notes why there is no answer from the backend. Where it is, nobody is
// told; the cause is for the log.
func (p *passage) failed(out *http.Request, err error) {
	if p.err != nil {
		return // the backend answered; it was us who did not want to hear it
	}
	p.x.upstreamTime = p.s.Now().Sub(p.sent)
	p.err = p.explain(out.Context(), err)
	if code := codeOf(p.err); code == "UPSTREAM_UNREACHABLE" || code == "UPSTREAM_TIMEOUT" {
		p.up.report(p.s.Metrics, false)
		p.s.Log.Warn("upstream failed", "upstream", p.up.name, "code", string(code), "request_id", p.x.requestID, "err", tellable(err))
	}
}

// tellable is as much of an upstream's failure as may stand in the log. What
// net/http could not read it repeats, and that may be a page of somebody's.
func tellable(err error) error {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &network):
		return network
	case errors.As(err, &certificate):
		return certificate
	}
	for _, known := range []error{io.ErrUnexpectedEOF, io.EOF, errUnasked, errStatus, errLongHeader, errBodySent} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errUnreadable
}

// errUnreadable stands in the log for what a backend said that is no answer.
var errUnreadable = errors.New("what the backend sent is no answer; it is not shown, since it may be anything")

func (p *passage) explain(ctx context.Context, err error) error {
	var own *refusal
	var body *bodyError
	var ended *endedError
	switch {
	case errors.As(context.Cause(ctx), &ended): // whatever broke, broke by that
		return ended.why
	case errors.As(err, &own): // a body too slow
		return err
	case errors.As(err, &body):
		return &refusal{code: "BAD_REQUEST", detail: "The request's body broke off.", cause: err}
	case ctx.Err() != nil: // the client left: there is nobody to answer
		panic(http.ErrAbortHandler)
	case isTimeout(err):
		return &refusal{code: "UPSTREAM_TIMEOUT", cause: err}
	}
	return &refusal{code: "UPSTREAM_UNREACHABLE", cause: err}
}

// errStatus is of an answer net/http reads and will not write.
var errStatus = errors.New("the backend's answer has a status below 100")

// wrong says why an answer cannot go on: no client can make anything of it.
func (p *passage) wrong(res *http.Response) error {
	switch {
	case res.StatusCode < 100:
		return errStatus
	case res.StatusCode == http.StatusSwitchingProtocols && !p.agreed(res):
		return errUnasked // and no answer can follow on that connection
	}
	return nil
}
