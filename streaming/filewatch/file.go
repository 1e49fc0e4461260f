// SPDX-License-Identifier: Apache-2.0

// Package filewatch reads files again when they have changed.
package filewatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
)

// poll is how often a file is looked at.
const poll = 2 * time.Second

// File is a file that is read again when it has changed. It belongs to one
// module and ends with it.
type File struct {
	Path string
	// Holds is what the file holds, in messages, and Most how many bytes it
	// may have.
	Holds string
	Most  int64
	// Take puts what the file says in force, as a whole or not at all, and
	// returns what the log should say of it.
	Take func(text []byte) ([]zap.Field, error)

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

// Open reads the file and watches it from then on. A file that is broken from
// the beginning is an error. A file that was opened must be closed.
func (f *File) Open(logger *zap.Logger) error {
	if _, _, err := f.Reread(); err != nil {
		return err
	}
	f.stop, f.done = make(chan struct{}), make(chan struct{})
	go f.watch(logger, f.stop)
	return nil
}

// watch reads the file again whenever it has changed.
func (f *File) watch(logger *zap.Logger, stop <-chan struct{}) {
	defer close(f.done)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		changed, said, err := f.Reread()
		switch {
		case err != nil:
			logger.Error("the file of "+f.Holds+" was not taken; what it said before holds", zap.Error(err))
		case changed:
			logger.Info("the file of "+f.Holds+" has been read again", said...)
		}
	}
}

// Close ends the watch, if there is one. To close it again does nothing.
func (f *File) Close() {
	if f != nil && f.stop != nil {
		close(f.stop)
		<-f.done
		f.stop = nil
	}
}

// Reread reads the file if it is another than the one that was seen, and
// tells whether what it says is in force now. What is wrong with it is said
// once.
func (f *File) Reread() (changed bool, said []zap.Field, err error) {
	now := stampOf(f.Path)
	if now == f.seen {
		return false, nil, nil
	}
	f.seen = now
	text, err := Read(f.Path, f.Most)
	if err == nil {
		said, err = f.Take(text)
	}
	if err != nil {
		return false, nil, fmt.Errorf("%s file %s: %w", f.Holds, f.Path, err)
	}
	return true, said, nil
}

// Decode reads the one JSON object that a file holds. A field that is not known
// is an error: it may be a misspelled restriction.
func Decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// Read reads a file of at most so many bytes.
func Read(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ReadAtMost(file, most)
}

// ReadAtMost reads r to its end, and fails if that is beyond so many bytes.
func ReadAtMost(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("longer than %d bytes", most)
	}
	return text, err
}
