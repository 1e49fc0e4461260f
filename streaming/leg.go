// SPDX-License-Identifier: Apache-2.0

package streaming

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/seed83435595/caddy-llm-proxy/keypool"
	"github.com/seed83435595/caddy-llm-proxy/streaming/wire"
)

// leg is the answer of one attempt, as it is being read. A scanner reads
// along. It holds the key's lease until it is closed. Most calls have one leg;
// a stream that broke and was taken up again has more.
type leg struct {
	to       target
	lease    keypool.Lease
	response *http.Response
	scan     *wire.Scanner
	call     *Call
	began    time.Time

	ctx    context.Context
	cancel context.CancelCauseFunc
	// client is the client's context; left says that it was over when reading
	// ended.
	client context.Context
	left   bool
	// detach frees the leg from the client's context, if it is to be read to
	// its end even when the client goes away; detached says that it is.
	detach   func() bool
	detached bool
	watch    *watch
	limits   *Timeouts
	// overtime is nil as long as the call's time is not up.
	overtime *overtime
	// urgent says that the first token must come in time, since there is
	// another target to go to.
	urgent bool
	// veil hides the key in errors that come when it is too late to keep them
	// back.
	veil veil
	// stream says that the scanner must see the end of the answer, or else it
	// was cut off.
	stream bool

	// filter takes out what asking for the usage has brought in; nil where it
	// was not asked for.
	filter *wire.UsageFilter

	// held is what was read before anything was passed on, and end how that
	// reading ended, if it did.
	held []byte
	end  error
	// memory is where held begins; nil if that was made for it alone.
	memory *[shortHeld]byte
	// done says that the answer was read to its end, fault what kept it from
	// that.
	done  bool
	fault error
	// firstToken is the time until something was generated, and lastToken
	// until it was for the last time so far; 0 before that. outputs is how many
	// events have generated something.
	firstToken, lastToken time.Duration
	outputs               int
	// session is the connection of a session over a WebSocket; nil for every
	// other answer.
	session *session
	// attempt is the leg's place among the call's attempts.
	attempt  int
	finished bool
	// kept is how many objects that the answer names are remembered.
	kept int
}

// errTruncated is a stream that ended without its family's terminal signal, or
// a document that stops in the middle. Passing the end on as an ordinary one
// would present it as success.
var errTruncated = ownError("the provider's answer ended before its end")

// errReported is a stream in which the provider said that it had failed.
var errReported = ownError("the provider reported an error in its stream")

// read reads from the provider, and notes what came. It returns io.EOF only
// at the end of a whole answer.
func (l *leg) read(p []byte) (int, error) {
	n, err := 0, error(errTotalTimeout)
	if !l.overtime.spent() {
		l.watch.arm(l.limit())
		n, err = l.response.Body.Read(p)
		l.watch.disarm()
		l.overtime.add(n)
	}
	if n > 0 {
		l.scan.Write(p[:n])
		// Some stream unasked, or read the request otherwise than it is read here.
		l.stream = l.stream || l.scan.Events()
		l.keep()
	}
	if err != nil {
		l.left = l.client.Err() != nil
		dropValues(l.response.Trailer, l.veil.secret)
		if err = l.ending(err); err == io.EOF { //nolint:errorlint // a fault that wraps it is no end
			l.done = true
		} else {
			l.fault = err
		}
	}
	// Of what is encoded, the end may tell more.
	if outputs := l.scan.Outputs(); outputs > l.outputs || l.firstToken == 0 && l.scan.Started() {
		l.outputs, l.lastToken = outputs, time.Since(l.began)
		if l.firstToken == 0 {
			l.firstToken = l.lastToken
		}
	}
	return n, err
}

// ails reports whether the provider has begun to say what went wrong.
func (l *leg) ails() bool { return l.scan.Faults() > 0 || l.scan.Failing() }

// limit returns how long the provider may now be silent.
func (l *leg) limit() (time.Duration, *timeoutError) {
	switch {
	case l.late():
		return l.overtime.left(), errTotalTimeout
	case l.over():
		return endGrace, errEnded
	case l.urgent && !l.scan.Started():
		return max(time.Duration(l.limits.FirstToken)-time.Since(l.began), 1), errFirstTokenTimeout
	case l.scan.Blank():
		return time.Duration(l.limits.Idle), errNothingTimeout
	default:
		return time.Duration(l.limits.Idle), errIdleTimeout
	}
}

// lingers reports whether a stream that is waited for, as there is no other
// target, has said only what tells nothing for too long. Its client should get
// to see that there is something.
func (l *leg) lingers() bool {
	limit := time.Duration(l.limits.FirstToken)
	return l.stream && !l.urgent && limit > 0 && time.Since(l.began) >= limit
}

// ending says what the end of reading means.
func (l *leg) ending(err error) error {
	cause := context.Cause(l.ctx)
	switch {
	case err == io.EOF, //nolint:errorlint // a fault that wraps it is no end
		cause == errEnded, l.over() && !l.left:
		l.scan.Close()
		if l.stream && l.truncated() || l.response.StatusCode == http.StatusOK && l.scan.CutOff() {
			return errTruncated
		}
		return io.EOF
	case cause != nil:
		return cause
	default:
		return err
	}
}

// over reports whether a stream is whole and nothing more of it is to come, but
// perhaps its usage.
func (l *leg) over() bool { return l.stream && l.scan.Final() && !l.call.Request.Several }

// truncated reports whether a stream that is over lacks its end. Of one that
// says nothing we understand, it cannot be said.
func (l *leg) truncated() bool {
	understood := l.scan.Started() || l.scan.Result().Model != ""
	return understood && !l.scan.Ended() && l.scan.Failure() == nil
}

// finish ends the leg: the provider's connection is released or broken off,
// and the key gets its verdict. It does nothing when called again.
func (l *leg) finish(verdict keypool.Verdict) {
	if l.finished {
		return
	}
	l.finished = true
	l.drop()
	l.report(keypool.Outcome{Verdict: verdict, Latency: time.Since(l.began), FirstToken: l.firstToken})
}

// report tells all who count how the leg went.
func (l *leg) report(o keypool.Outcome) {
	usage := l.scan.Usage()
	o.Tokens = int(usage.InputTotal() + usage.OutputTotal())
	l.lease.Report(o)
	l.to.share.failed(l.began, o.Verdict, false)
	l.call.judge(l.attempt, o.Verdict)
}

// judgeInside judges an error that came within a success.
func (l *leg) judgeInside(body []byte) keypool.Verdict {
	return l.to.provider.rules.Judge(l.call.Request, http.StatusOK, l.response.Header, body, time.Now())
}

// judgeWhole judges an answer that has been held back whole, and that only an
// operator's rule could call a failure. It reports false if none does.
func (l *leg) judgeWhole() (keypool.Verdict, bool) {
	return l.to.provider.successes.JudgeSuccess(l.response.StatusCode, l.response.Header, l.held, time.Now())
}

// drop lets go of the provider's answer.
func (l *leg) drop() {
	_ = l.response.Body.Close()
	l.cancel(nil)
}

// verdict says how the answer went, and how the call did if this was its end.
func (l *leg) verdict() (keypool.Verdict, Outcome) {
	failure := l.scan.Failure()
	switch {
	case failure != nil:
		return l.judgeInside(failure), OutcomeBroken
	case l.done || l.scan.Final() && (l.left || l.fault == nil):
		return keypool.Verdict{Class: keypool.ClassOK}, OutcomeOK
	case l.left || l.fault == nil:
		// Nobody read to the end, and no fault was seen: the client is gone.
		return keypool.Verdict{Class: keypool.ClassCanceled}, OutcomeCanceled
	case errors.Is(l.fault, errTotalTimeout):
		// It is we who have no more time. The provider may serve well.
		return keypool.Verdict{Class: keypool.ClassCanceled}, OutcomeBroken
	default:
		return keypool.Verdict{Class: keypool.ClassBroken}, OutcomeBroken
	}
}
