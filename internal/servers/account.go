package servers

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// account is the user that a server runs as; nil: the same as the tests.
type account struct{ uid, gid int }

// unprivileged finds an account for a server that must not run as root: the one named
// own, or nobody.
func unprivileged(own string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{own, "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err1 := strconv.Atoi(u.Uid)
			gid, err2 := strconv.Atoi(u.Gid)
			return &account{uid, gid}, errors.Join(err1, err2)
		}
	}
	return nil, fmt.Errorf("neither %s nor nobody is a user here", own)
}
