// SPDX-License-Identifier: Apache-2.0

package filewatch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// write writes a file with a time of its own.
func write(t *testing.T, path, text string, when time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// A file is taken again within seconds of a change, and what is wrong with it
// is said once. Nothing of it goes on after Close.
func TestFileIsReadAgainWhenItHasChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "words")
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		taken := ""
		f := &File{Path: path, Holds: "words", Most: 100, Take: func(text []byte) ([]zap.Field, error) {
			if strings.Contains(string(text), "bad") {
				return nil, errors.New("a bad word")
			}
			taken = string(text)
			return nil, nil
		}}
		change := func(text string) {
			t.Helper()
			write(t, path, text, time.Now())
			time.Sleep(poll)
			synctest.Wait()
		}
		write(t, path, "one", time.Now())
		if err := f.Open(zap.New(core)); err != nil || taken != "one" {
			t.Fatalf("took %q, %v", taken, err)
		}
		for _, step := range []struct{ text, taken, said string }{
			{"three", "three", "the file of words has been read again"},
			{"bad", "three", "the file of words was not taken; what it said before holds"},
			{strings.Repeat("x", 101), "three", "the file of words was not taken; what it said before holds"},
			{"", "", "the file of words has been read again"},
		} {
			change(step.text)
			if taken != step.taken {
				t.Errorf("%q: took %q", step.text, taken)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if all := logs.TakeAll(); len(all) != 1 || all[0].Message != step.said {
				t.Errorf("%q: the log says %v", step.text, all)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if all := logs.TakeAll(); len(all) != 1 || all[0].Level != zapcore.ErrorLevel {
			t.Errorf("without the file the log says %v", all)
		}
		f.Close()
		change("late")
		if taken == "late" {
			t.Error("it was taken after the end")
		}
	})
}

// A file that is broken from the beginning is an error, and is not watched.
func TestFileThatIsBrokenFromTheBeginning(t *testing.T) {
	f := &File{Path: filepath.Join(t.TempDir(), "none"), Holds: "words", Most: 100}
	if err := f.Open(zap.NewNop()); err == nil || !strings.Contains(err.Error(), "words file") {
		t.Errorf("got %v", err)
	}
	f.Close()
	new(File).Close()
	(*File)(nil).Close()
}
