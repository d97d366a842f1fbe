package actors

import (
	"bytes"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
)

// origin says where in the program a Get came from. It is captured by the caller
// when the pool watches for leaks, and put into words only when somebody asks, on the
// pool's turn or off it.
type origin struct {
	goroutine uint64                 // 0: it was not asked for
	text      atomic.Pointer[string] // nil: nobody has asked yet
	frames    int
	pcs       [maxFrames]uintptr
}

// maxFrames bounds a captured stack.
const maxFrames = 16

// here captures which code outside this package has called Get: two calls up, and so many
// more.
func (r *Ref) here(more int) *origin {
	o := &origin{}
	o.frames = runtime.Callers(3+more, o.pcs[:])
	if r.numbersGoroutines {
		o.goroutine = goroutine()
	}
	return o
}

// goroutine is the number of this goroutine. The runtime tells it only as the first line
// of a stack, whose making takes several times as long as all the rest of a Get.
func goroutine() uint64 {
	var b [64]byte
	line, _ := bytes.CutPrefix(b[:runtime.Stack(b[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(line, []byte(" "))
	n, _ := strconv.ParseUint(string(digits), 10, 64)
	return n
}

// Goroutine implements machine.Trace.
func (o *origin) Goroutine() uint64 { return o.goroutine }

// Stack implements machine.Trace.
func (o *origin) Stack() string {
	if text := o.text.Load(); text != nil {
		return *text
	}
	var b strings.Builder
	frames := runtime.CallersFrames(o.pcs[:o.frames])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/actorpool/actorpool/client.") {
			b.WriteString(f.Function)
			b.WriteString("\n\t")
			b.WriteString(f.File)
			b.WriteString(":")
			b.WriteString(strconv.Itoa(f.Line))
			b.WriteString("\n")
		}
		if !more {
			break
		}
	}
	text := b.String()
	o.text.Store(&text)
	return text
}
