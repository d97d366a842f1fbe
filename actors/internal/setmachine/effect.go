package setmachine

import "time"

// Effect is something that the shell has to do.
type Effect struct {
	Kind  EffectKind
	Key   *Key
	Units int           // Grant
	Need  *Need         // Post
	Wait  *Wait         // Deadlock
	At    time.Duration // ArmTick
	Epoch uint64        // ArmTick
}

// EffectKind says what.
type EffectKind uint8

// The effects.
const (
	// Make asks for the Config of Key. It ends in Made or Failed.
	Make EffectKind = iota
	// Spawn makes the pool of Key, without a unit.
	Spawn
	// Ready tells those who wait for the pool of Key that it can be used.
	Ready
	// Refuse tells them that there will be none: Failed says why, or the set is closed.
	Refuse
	// Forget lets go of Key.
	Forget
	// Retire asks the pool of Key to close if it is at rest. It ends in Retired.
	Retire
	// ClosePool closes the pool of Key in any case.
	ClosePool
	// Grant gives Units to the pool of Key.
	Grant
	// Post shows Need to all pools in place of the last one; nil: none. Pools that have an
	// idle connection are to look at it.
	Post
	// Rest asks all pools to say when they are at rest; Unrest: no longer.
	Rest
	Unrest
	// Era begins a new era of uses, see Config.Look.
	Era
	// Deadlock ends Wait.
	Deadlock
	// ArmTick asks for a Tick at At; DisarmTick: no longer.
	ArmTick
	DisarmTick
	// Stopped says that nothing is left.
	Stopped
)

var effectNames = [...]string{
	Make: "Make", Spawn: "Spawn", Ready: "Ready", Refuse: "Refuse", Forget: "Forget", Retire: "Retire", ClosePool: "ClosePool",
	Grant: "Grant", Post: "Post", Rest: "Rest", Unrest: "Unrest", Era: "Era", Deadlock: "Deadlock",
	ArmTick: "ArmTick", DisarmTick: "DisarmTick", Stopped: "Stopped",
}

func (k EffectKind) String() string { return effectNames[k] }
