// SPDX-License-Identifier: Apache-2.0

package handler

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
)

// filePoll is how often a file is looked at.
const filePoll = 2 * time.Second

// watchedFile is a file that is read again when it has changed. It belongs to
// one handler and ends with it.
type watchedFile struct {
	path string
	// holds is what the file holds, in messages, and most how many bytes it
	// may have.
	holds string
	most  int64
	// take puts what the file says in force, as a whole or not at all, and
	// returns what the log should say of it.
	take func(text []byte) ([]zap.Field, error)
	// seen is the file as it was last read, well or not.
	seen       stamp
	stop, done chan struct{}
}

// stamp tells one state of a file from another. A file that is not there has
// one, too.
type stamp struct {
	modified time.Time
	size     int64
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{size: -1}
	}
	return stamp{info.ModTime(), info.Size()}
}

// open reads the file and watches it from then on. A file that is broken from
// the beginning is an error.
func (f *watchedFile) open(logger *zap.Logger) error {
	if _, _, err := f.reread(); err != nil {
		return err
	}
	f.stop, f.done = make(chan struct{}), make(chan struct{})
	go f.watch(logger)
	return nil
}

// watch reads the file again whenever it has changed.
func (f *watchedFile) watch(logger *zap.Logger) {
	defer close(f.done)
	ticker := time.NewTicker(filePoll)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
		changed, said, err := f.reread()
		switch {
		case err != nil:
			logger.Error("the file of "+f.holds+" was not taken; what it said before holds", zap.Error(err))
		case changed:
			logger.Info("the file of "+f.holds+" has been read again", said...)
		}
	}
}

// close ends the watch, if there is one.
func (f *watchedFile) close() {
	if f != nil && f.stop != nil {
		close(f.stop)
		<-f.done
	}
}

// reread reads the file if it is another than the one that was seen, and
// tells whether what it says is in force now. What is wrong with it is said
// once.
func (f *watchedFile) reread() (changed bool, said []zap.Field, err error) {
	now := stampOf(f.path)
	if now == f.seen {
		return false, nil, nil
	}
	f.seen = now
	text, err := readBounded(f.path, f.most)
	if err == nil {
		said, err = f.take(text)
	}
	if err != nil {
		return false, nil, fmt.Errorf("%s file %s: %w", f.holds, f.path, err)
	}
	return true, said, nil
}
