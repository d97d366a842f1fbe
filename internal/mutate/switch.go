package main

import "fmt"

// switchFile is what an instrumented package needs beside its own files. It
// imports the standard library only, and its names begin with "mutant". A mutant
// counts as reached when it makes a difference there, not merely when the code
// runs: that a < b is not tried with equal numbers is known without a run.
func switchFile(pkg string, mutants int) []byte {
	return fmt.Appendf(nil, "package %s\n%s", pkg, fmt.Sprintf(switchText, mutants+1))
}

const switchText = `
import (
	"cmp"
	"os"
	"strconv"
	"sync/atomic"
)

// mutantActive is the mutant that is active, 0: none.
var mutantActive, _ = strconv.Atoi(os.Getenv("MUTANT"))

// mutantLog is where the mutants that are reached are noted, once each.
var mutantLog, _ = os.OpenFile(os.Getenv("MUTANTS_REACHED"), os.O_WRONLY|os.O_APPEND, 0)

var mutantSeen [%d]atomic.Bool

func mutantOn(id int) bool {
	if mutantLog != nil {
		mutantReached(id)
	}
	return id == mutantActive
}

func mutantReached(id int) {
	if !mutantSeen[id].Swap(true) {
		mutantLog.WriteString(strconv.Itoa(id) + "\n")
	}
}

func mutantTrue(id int, b bool) bool  { return b || mutantOn(id) }
func mutantFalse(id int, b bool) bool { return b && !mutantOn(id) }
func mutantNot(id int, b bool) bool { return b != mutantOn(id) }

type mutantInteger interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr
}

type mutantNumber interface {
	mutantInteger | ~float32 | ~float64
}

func mutantMore[T mutantInteger](id int, x T) T {
	if mutantOn(id) {
		return x + 1
	}
	return x
}

func mutantZero[T any](id int, x T) T {
	if mutantOn(id) {
		var zero T
		return zero
	}
	return x
}

func mutantLess[T cmp.Ordered](id int, a, b T) bool    { return a < b || a == b && mutantOn(id) }
func mutantAtMost[T cmp.Ordered](id int, a, b T) bool  { return a < b || a == b && !mutantOn(id) }
func mutantGreater[T cmp.Ordered](id int, a, b T) bool { return a > b || a == b && mutantOn(id) }
func mutantAtLeast[T cmp.Ordered](id int, a, b T) bool { return a > b || a == b && !mutantOn(id) }

func mutantMin[T cmp.Ordered](id int, x T, more ...T) T {
	for _, y := range more {
		if y != x && (y < x) != mutantOn(id) {
			x = y
		}
	}
	return x
}

func mutantMax[T cmp.Ordered](id int, x T, more ...T) T {
	for _, y := range more {
		if y != x && (y > x) != mutantOn(id) {
			x = y
		}
	}
	return x
}

func mutantPlus[T mutantNumber](id int, a, b T) T {
	if b != 0 && mutantOn(id) {
		return a - b
	}
	return a + b
}

func mutantMinus[T mutantNumber](id int, a, b T) T {
	if b != 0 && mutantOn(id) {
		return a + b
	}
	return a - b
}

func mutantTimes[T mutantNumber](id int, a, b T) T {
	if mutantOn(id) {
		return a / b
	}
	return a * b
}

func mutantOver[T mutantNumber](id int, a, b T) T {
	if mutantOn(id) {
		return a * b
	}
	return a / b
}
`
