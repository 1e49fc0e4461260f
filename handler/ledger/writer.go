// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// maxWaiting is how many records wait to be written, and maxBatch how many
	// are written together.
	maxWaiting = 8192
	maxBatch   = 256
	// firstRetry is the time after which a failed write is tried again. It
	// doubles up to lastRetry.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
	// lastWords is how long the records that wait at the end may take.
	lastWords = 5 * time.Second
)

// Writer hands records to a sink. Whoever may write holds it; when the last
// one has let go, it writes what is left and closes the sink.
type Writer struct {
	sink    Sink
	logger  *zap.Logger
	queue   chan *Record
	holders atomic.Int64
	// ending is done soon after the last holder has let go.
	ending context.Context
	end    context.CancelFunc
	done   chan struct{}

	dropped atomic.Uint64
}

// NewWriter makes a writer, held once. The logger must not end with a config.
func NewWriter(sink Sink, logger *zap.Logger) *Writer {
	w := &Writer{sink: sink, logger: logger, queue: make(chan *Record, maxWaiting), done: make(chan struct{})}
	w.holders.Store(1)
	w.ending, w.end = context.WithCancel(context.Background())
	go w.run()
	return w
}

// Hold keeps the writer open until Release. It fails once the writer has been
// let go of.
func (w *Writer) Hold() bool {
	for {
		holders := w.holders.Load()
		if holders == 0 {
			return false
		}
		if w.holders.CompareAndSwap(holders, holders+1) {
			return true
		}
	}
}

// Release lets go of the writer. It does not wait for what is left.
func (w *Writer) Release() {
	if w.holders.Add(-1) == 0 {
		close(w.queue)
		time.AfterFunc(lastWords, w.end)
	}
}

// Done is closed when all is written, or given up, and the sink closed.
func (w *Writer) Done() <-chan struct{} { return w.done }

// Write hands a record over. It never waits: without room, the record is
// counted and lost. Only who holds the writer may call it.
func (w *Writer) Write(record *Record) {
	select {
	case w.queue <- record:
	default:
		w.drop(1)
	}
}

// lost counts what all writers of this process have dropped.
var lost atomic.Uint64

// Lost returns how many records were lost since the process began, by all
// writers.
func Lost() uint64 { return lost.Load() }

// drop counts records for which there was no room or no time.
func (w *Writer) drop(n int) {
	if w.count(n) == 0 {
		w.logger.Error("records of calls are lost: the sink takes them too slowly, or not at all")
	}
}

// count counts lost records, and returns how many were lost before.
func (w *Writer) count(n int) uint64 {
	lost.Add(uint64(n))
	return w.dropped.Add(uint64(n)) - uint64(n)
}

// run writes what comes, until there will be no more.
func (w *Writer) run() {
	defer close(w.done)
	defer w.end()
	batch := make([]*Record, 0, maxBatch)
	for first := range w.queue {
		batch = w.fill(append(batch[:0], first))
		w.keep(batch)
		clear(batch)
	}
	if err := w.sink.Close(); err != nil {
		w.logger.Error("closing the sink failed", zap.Error(err))
	}
}

// fill adds the records that wait already.
func (w *Writer) fill(batch []*Record) []*Record {
	for len(batch) < maxBatch {
		select {
		case record, more := <-w.queue:
			if !more {
				return batch
			}
			batch = append(batch, record)
		default:
			return batch
		}
	}
	return batch
}

// keep writes a batch, again and again if need be. It gives up only at the
// end, and records that the sink refuses.
func (w *Writer) keep(batch []*Record) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := w.sink.Write(w.ending, batch)
		if errors.Is(err, ErrRefused) {
			batch, err = w.sift(batch)
		}
		if err == nil {
			if retry > firstRetry {
				w.logger.Info("records of calls are written again")
			}
			return
		}
		if retry == firstRetry {
			w.logger.Warn("writing records of calls failed; they wait", zap.Error(err))
		}
		select {
		case <-time.After(retry):
		case <-w.ending.Done():
			w.drop(len(batch))
			return
		}
	}
}

// sift writes a batch one by one without the records that the sink refuses. It
// returns what is left when that fails for another reason.
func (w *Writer) sift(batch []*Record) ([]*Record, error) {
	for i, record := range batch {
		err := w.sink.Write(w.ending, batch[i:i+1])
		switch {
		case err == nil:
		case errors.Is(err, ErrRefused):
			w.count(1)
			w.logger.Error("the record of a call is lost: the sink refuses it", zap.String("request_id", record.ID), zap.Error(err))
		default:
			return batch[i:], err
		}
	}
	return nil, nil
}
