// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// slow is a sink that can be told to fail or to take its time.
type slow struct {
	fails int
	// refuses are the ids of records that it will never take.
	refuses map[string]bool
	gate    chan struct{}
	kept    []string
	closed  bool
}

func (s *slow) Write(ctx context.Context, records []*Record) error {
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.fails != 0 {
		s.fails--
		return errors.New("no room")
	}
	for _, record := range records {
		if s.refuses[record.ID] {
			return fmt.Errorf("%w: %s", ErrRefused, record.ID)
		}
	}
	for _, record := range records {
		s.kept = append(s.kept, record.ID)
	}
	return nil
}

func (s *slow) Close() error {
	s.closed = true
	return nil
}

func write(w *Writer, from, to int) {
	for i := from; i < to; i++ {
		w.Write(&Record{ID: strconv.Itoa(i)})
	}
}

func inOrder(t *testing.T, kept []string, n int) {
	t.Helper()
	if len(kept) != n {
		t.Fatalf("%d records were kept, want %d", len(kept), n)
	}
	for i, id := range kept {
		if id != strconv.Itoa(i) {
			t.Fatalf("record %d is %s", i, id)
		}
	}
}

func TestRecordsAreWrittenInOrder(t *testing.T) {
	sink := new(slow)
	w := NewWriter(sink, zap.NewNop())
	write(w, 0, 5000)
	w.Release()
	<-w.Done()
	inOrder(t, sink.kept, 5000)
	if !sink.closed || w.dropped.Load() != 0 {
		t.Errorf("closed %v, dropped %d", sink.closed, w.dropped.Load())
	}
}

// What cannot be written is written later, in its order, and said once.
func TestAFailedWriteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		sink := &slow{fails: 5}
		w := NewWriter(sink, zap.New(core))
		write(w, 0, 1000)
		time.Sleep(time.Minute)
		w.Release()
		<-w.Done()
		inOrder(t, sink.kept, 1000)
		if logs.Len() != 2 {
			t.Errorf("%d lines were logged: %v", logs.Len(), logs.All())
		}
	})
}

// A record that the sink will never take costs no other its place: it alone is
// lost, and counted, also if the sink is away just then.
func TestARefusedRecordHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for fails := range 3 {
			sink := &slow{fails: fails, refuses: map[string]bool{"7": true, "8": true, "999": true}}
			w := NewWriter(sink, zap.NewNop())
			write(w, 0, 1000)
			time.Sleep(time.Minute)
			w.Release()
			<-w.Done()
			if len(sink.kept) != 997 || w.dropped.Load() != 3 || !sink.closed {
				t.Errorf("%d records were kept, %d dropped", len(sink.kept), w.dropped.Load())
			}
			for i, id := range sink.kept[:9] {
				if want := [...]string{"0", "1", "2", "3", "4", "5", "6", "9", "10"}[i]; id != want {
					t.Errorf("record %d is %s, want %s", i, id, want)
				}
			}
		}
	})
}

// A sink that takes nothing holds up nobody; what is lost is counted.
func TestAFullQueueDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slow{gate: make(chan struct{})}
		w := NewWriter(sink, zap.NewNop())
		w.Write(&Record{ID: "0"})
		synctest.Wait() // the first is in the sink's hands
		write(w, 1, maxWaiting+101)
		if w.dropped.Load() != 100 {
			t.Errorf("%d were dropped, want 100", w.dropped.Load())
		}
		close(sink.gate)
		w.Release()
		<-w.Done()
		inOrder(t, sink.kept, maxWaiting+1)
	})
}

// At the end, a sink that is away is not waited for, for ever.
func TestTheEndDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &slow{fails: -1}
		w := NewWriter(sink, zap.NewNop())
		write(w, 0, 10)
		w.Release()
		began := time.Now()
		<-w.Done()
		if waited := time.Since(began); waited > lastWords+lastRetry {
			t.Errorf("the end took %s", waited)
		}
		if !sink.closed || w.dropped.Load() != 10 {
			t.Errorf("closed %v, dropped %d", sink.closed, w.dropped.Load())
		}
	})
}

// A call that is still under way when its config ends is written down, too.
func TestAHeldWriterStaysOpen(t *testing.T) {
	sink := new(slow)
	w := NewWriter(sink, zap.NewNop())
	if !w.Hold() {
		t.Fatal("an open writer cannot be held")
	}
	w.Release()
	write(w, 0, 1)
	w.Release()
	<-w.Done()
	inOrder(t, sink.kept, 1)
	if w.Hold() {
		t.Error("a closed writer can be held")
	}
}
