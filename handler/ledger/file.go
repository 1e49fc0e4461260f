// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/logging"
)

func init() {
	caddy.RegisterModule(new(File))
}

// File keeps records in a file, each as a line of JSON. The file is opened,
// rolled and kept like a log of Caddy's, with the same options: by default it
// is rolled at 100 MiB, and ten old ones are kept, compressed, for 90 days.
//
// Records are written as they come, and each in one go. If the machine fails
// in the midst of one, the next start begins a new line behind it.
type File struct {
	logging.FileWriter
}

// CaddyModule returns the Caddy module information.
func (*File) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.ledger.file",
		New: func() caddy.Module { return new(File) },
	}
}

// Validate refuses a file without a name.
func (f *File) Validate() error {
	if f.Filename == "" {
		return errors.New("a filename is needed")
	}
	return nil
}

// Name is how the file is kept. Provisioning has resolved its placeholders.
func (f *File) Name() (string, error) {
	text, err := json.Marshal(f.FileWriter)
	return string(text), err
}

// Open makes the sink. It fails if the file can neither be written to nor made;
// what it looked like before the first record stays.
func (f *File) Open() (Sink, error) {
	if err := checkPlace(f.Filename); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return &fileSink{writer: f.FileWriter}, nil
}

// UnmarshalCaddyfile sets up the file from Caddyfile tokens. Syntax:
//
//	file <filename> {
//		<any option of the log output file>
//	}
func (f *File) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume module name
	if d.CountRemainingArgs() != 1 {
		return d.Err("ledger file: wants one file to write to, such as 'ledger file /var/log/caddy/llm.jsonl'")
	}
	d.Reset()
	return f.FileWriter.UnmarshalCaddyfile(d)
}

// fileSink writes to the file, which it opens at the first record.
type fileSink struct {
	writer logging.FileWriter
	file   io.WriteCloser
	text   bytes.Buffer
}

// Write appends the records.
func (s *fileSink) Write(_ context.Context, records []*Record) error {
	if s.file == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	s.text.Reset()
	encoder := json.NewEncoder(&s.text)
	encoder.SetEscapeHTML(false)
	for _, record := range records {
		if err := encoder.Encode(record); err != nil {
			return fmt.Errorf("%w: encoding one: %w", ErrRefused, err)
		}
	}
	if _, err := s.file.Write(s.text.Bytes()); err != nil {
		return fmt.Errorf("writing to the file: %w", err)
	}
	return nil
}

// open opens the file, and ends a line that was not written to its end.
func (s *fileSink) open() error {
	torn, err := endsTorn(s.writer.Filename)
	if err != nil {
		return err
	}
	file, err := s.writer.OpenWriter()
	if err != nil {
		return fmt.Errorf("opening the file: %w", err)
	}
	if torn {
		if _, err := file.Write([]byte("\n")); err != nil {
			_ = file.Close()
			return fmt.Errorf("writing to the file: %w", err)
		}
	}
	s.file = file
	return nil
}

// endsTorn tells whether a file ends in the midst of a line.
func endsTorn(name string) (bool, error) {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("opening the file: %w", err)
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return false, err
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], end-1); err != nil {
		return false, fmt.Errorf("reading the file: %w", err)
	}
	return last[0] != '\n', nil
}

// Close closes the file.
func (s *fileSink) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Interface guards
var (
	_ caddy.Validator       = (*File)(nil)
	_ caddyfile.Unmarshaler = (*File)(nil)
	_ Module                = (*File)(nil)
)
