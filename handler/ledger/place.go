// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// checkPlace finds out whether a file can be written to, or made where it is
// not there yet, and leaves everything as it is. That there is no room is no
// error: it passes.
func checkPlace(name string) error {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = checkFolder(filepath.Dir(name))
	case err != nil:
	case info.IsDir():
		err = errors.New("it is a folder")
	case info.Mode().IsRegular(): // to open a pipe could wait for who reads it
		var file *os.File
		if file, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			err = file.Close()
		}
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s cannot be written to by the user that Caddy runs as: %w", name, err)
	}
	return nil
}

// checkFolder finds out whether there can be files in a folder. Of one that is
// not there, the one decides that it will be made in.
func checkFolder(name string) error {
	info, err := os.Stat(name)
	if above := filepath.Dir(name); errors.Is(err, fs.ErrNotExist) && above != name {
		return checkFolder(above)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", name)
	}
	// Modes do not tell: the file system may be read-only, the user root.
	file, err := os.CreateTemp(name, ".ledger-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
