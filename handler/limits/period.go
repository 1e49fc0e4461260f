// SPDX-License-Identifier: Apache-2.0

package limits

import (
	"fmt"
	"time"
)

// Calendar is a period that begins when the calendar says so.
type Calendar uint8

// The calendar's periods. The zero value is none.
const (
	Day Calendar = iota + 1
	Month
)

// Period is the time over which a rule counts: a sliding window, or a period
// of the calendar.
type Period struct {
	// Window is the length of a sliding window; 0 for a calendar period.
	Window time.Duration
	// Calendar is the calendar's period; 0 for a sliding window.
	Calendar Calendar
	// Zone says when a day begins. Nil means UTC.
	Zone *time.Location
}

// String returns the period as a message names it.
func (p Period) String() string {
	switch p.Calendar {
	case Day:
		return "day"
	case Month:
		return "month"
	}
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if p.Window >= unit.length && p.Window%unit.length == 0 {
			return fmt.Sprintf("%d%s", p.Window/unit.length, unit.name)
		}
	}
	return p.Window.String()
}

// same tells whether what was counted over p serves for q. Zones are compared
// by name, for each load of a config makes its own.
func (p Period) same(q Period) bool {
	return p.Window == q.Window && p.Calendar == q.Calendar && p.zone().String() == q.zone().String()
}

// spans tells whether what was used at one time still counts at another.
func (p Period) spans(then, now time.Time) bool {
	if p.Calendar == 0 {
		return now.Sub(then) < p.Window
	}
	return p.begin(then, 0).Equal(p.begin(now, 0))
}

func (p Period) zone() *time.Location {
	if p.Zone == nil {
		return time.UTC
	}
	return p.Zone
}

// slot is the length of a part of the window, in nanoseconds: whole
// microseconds, rounded up so that all parts are no shorter than the window.
func (p Period) slot() int64 {
	const part = slots * time.Microsecond
	return int64((p.Window+part-1)/part) * int64(time.Microsecond)
}

// begin returns when the calendar period of a time began, offset periods
// later.
func (p Period) begin(t time.Time, offset int) time.Time {
	year, month, day := t.In(p.zone()).Date()
	if p.Calendar == Month {
		return time.Date(year, month+time.Month(offset), 1, 0, 0, 0, 0, p.zone())
	}
	return time.Date(year, month, day+offset, 0, 0, 0, 0, p.zone())
}
