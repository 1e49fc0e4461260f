// SPDX-License-Identifier: Apache-2.0

// Package proc reads from Linux's /proc what a process has used. Where there is
// no /proc, everything is unknown.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// CPU returns the processor time that the process has used so far. The
// scheduler's own clock counts each thread in nanoseconds; the time of threads
// that have ended is lost, which for servers that keep theirs is nothing.
func CPU(pid int) (time.Duration, bool) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, false
	}
	var total int64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		running, _, _ := bytes.Cut(text, []byte(" "))
		nanoseconds, err := strconv.ParseInt(string(running), 10, 64)
		if err != nil {
			return 0, false
		}
		total += nanoseconds
	}
	return time.Duration(total), true
}

// Memory returns how many bytes of memory the process occupies.
func Memory(pid int) (int64, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
