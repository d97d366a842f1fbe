package client

import (
	"context"

	"github.com/actorpool/actorpool/actors"
)

// ConnInfo describes the connection that a function of a Config works on.
type ConnInfo = actors.ConnInfo

// HookInfo describes the connection that Connect, Check, Reset, Apply, Unapply or
// Disconnect works on, from the context that the function has been given, or one derived
// from it: for logs, metrics, or an application name that says what the connection is for.
// It returns false for any other context. It costs the pool nothing where it is not
// called.
func HookInfo(ctx context.Context) (ConnInfo, bool) { return actors.HookInfo(ctx) }
