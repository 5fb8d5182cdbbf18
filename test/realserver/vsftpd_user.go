package realserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
)

// SystemUser is a user of this machine that was made for a test.
type SystemUser struct {
	// Name and Password are what logs in.
	Name, Password string
}

// systemUsers numbers the users that this process has made.
var systemUsers atomic.Int64

// NewSystemUser makes a user whose home is an existing directory. It needs
// root.
func NewSystemUser(ctx context.Context, home, password string) (*SystemUser, error) {
	u := &SystemUser{Name: fmt.Sprintf("waybill-%d-%d", os.Getpid(), systemUsers.Add(1)), Password: password}
	if err := administer(ctx, "", "useradd", "--home-dir", home, "--no-create-home", "--no-user-group", "--shell", "/bin/sh", u.Name); err != nil {
		return nil, err
	}
	if err := administer(ctx, u.Name+":"+password+"\n", "chpasswd"); err != nil {
		return nil, fmt.Errorf("%w (and removing the user: %v)", err, u.Remove())
	}
	return u, nil
}

// Remove removes the user, whose sessions should have ended.
func (u *SystemUser) Remove() error {
	// Even if the machine hasn't quite forgotten them.
	return administer(context.Background(), "", "userdel", "--force", u.Name)
}

// administer runs an administrator's command.
func administer(ctx context.Context, input, name string, args ...string) error {
	path, err := lookPath(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
