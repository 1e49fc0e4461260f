// SPDX-License-Identifier: Apache-2.0

package streaming

import "time"

const (
	// maxOvertime is how long, in all, more is waited for when a call's time was
	// up between two pieces of its answer: what the provider has sent by then is
	// there, and takes next to none. maxOvertimeBytes is how much is taken then:
	// the end of an answer, and not the rest of one that goes on.
	maxOvertime      = 100 * time.Millisecond
	maxOvertimeBytes = 64 << 10
)

// overtime is what an answer takes when its call's time is up. It may be the
// client that has read slowly, and the provider that was done long before.
type overtime struct {
	began  time.Time
	waited time.Duration
	bytes  int
}

// late reports whether the call's time is up as a wait begins. From then on it
// is the overtime that ends the answer.
func (l *leg) late() bool {
	if l.overtime == nil && (l.watch.until.IsZero() || time.Now().Before(l.watch.until)) {
		return false
	}
	if l.overtime == nil {
		l.overtime, l.watch.until = new(overtime), time.Time{}
	}
	l.overtime.began = time.Now()
	return true
}

// spent reports whether an answer has taken all that it may.
func (o *overtime) spent() bool { return o != nil && o.bytes >= maxOvertimeBytes }

// left returns how long may still be waited.
func (o *overtime) left() time.Duration {
	return max(maxOvertime-o.waited, 1)
}

// add ends a wait that brought so many bytes. Where there is no overtime it does
// nothing.
func (o *overtime) add(n int) {
	if o != nil {
		o.waited += time.Since(o.began)
		o.bytes += n
	}
}
