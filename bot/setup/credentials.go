package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Credentials are what the App proves itself with.
type Credentials struct {
	AppID  int64  `json:"app_id"`
	Slug   string `json:"slug"`
	APIURL string `json:"api_url"` // of the GitHub that has the App
	Key    string `json:"private_key"`
	Secret string `json:"webhook_secret"`
}

// String leaves the secrets out.
func (c Credentials) String() string {
	return fmt.Sprintf("credentials of App %d (%s)", c.AppID, c.Slug)
}

// GoString is String: nothing prints the secrets by accident.
func (c Credentials) GoString() string { return c.String() }

// credentialsFile is the name in DATA_DIR.
const credentialsFile = "app.json"

// File is where a data folder has the credentials.
func File(dir string) string { return filepath.Join(dir, credentialsFile) }

// Load reads the credentials that the wizard left in a data folder. Without any
// the error is fs.ErrNotExist. A file that others than its owner may read is
// refused.
func Load(dir string) (Credentials, error) {
	var c Credentials
	name := File(dir)
	info, err := os.Stat(name)
	if err != nil {
		return c, fmt.Errorf("read the App's credentials: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return c, fmt.Errorf("read the App's credentials: %s has mode %#o and may be read by others; chmod 600 it", name, mode)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("read the App's credentials: %w", err)
	}
	if json.Unmarshal(data, &c) != nil || c.AppID <= 0 || c.Key == "" || c.Secret == "" { // the error might quote the file
		return Credentials{}, fmt.Errorf("read the App's credentials: %s is damaged", name)
	}
	return c, nil
}

// save writes the credentials, for their owner alone and whole or not at all.
// Some that are there already are never replaced.
func save(dir string, c Credentials) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the App's credentials: %w", err)
	}
	file, err := os.CreateTemp(dir, ".app-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the App's credentials: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(append(data, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Link(file.Name(), File(dir)) // fails if it exists
	}
	if err != nil {
		return fmt.Errorf("keep the App's credentials: %w", err)
	}
	return syncDir(dir)
}

// syncDir makes a new name in a folder outlive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("keep the App's credentials: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("keep the App's credentials: %w", err)
	}
	return nil
}

// prepare makes the data folder, for its owner alone, and reports why credentials
// could not be kept in it. GitHub gives them once: it is too late to find out then.
func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(File(dir)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already", File(dir))
	}
	file, err := os.CreateTemp(dir, ".app-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(make([]byte, 8<<10)) // as much as a key takes, and more
	return errors.Join(err, file.Sync(), file.Close())
}
