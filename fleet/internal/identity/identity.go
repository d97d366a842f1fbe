// Package identity carries who connects to Connect.
package identity

import "context"

// Identity is who connects.
type Identity struct {
	Incarnation string
	Slot        int
}

type key struct{}

// With is ctx for an identity.
func With(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, key{}, id)
}

// Of is the identity that ctx is for. Elsewhere it has no incarnation, and slot -1.
func Of(ctx context.Context) Identity {
	if id, ok := ctx.Value(key{}).(*Identity); ok {
		return *id
	}
	return Identity{Slot: -1}
}
