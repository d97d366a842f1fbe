package browser

import (
	"bufio"
	"flag"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pictures = flag.Bool("pictures", false, "write the pictures of the documents")

// startDemo builds and starts the demo, with an outage that lasts longer than a test, and
// gives the address of its page.
func startDemo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.Command("go", "build", "-o", program, "./quickstart")
	build.Dir = "../../examples"
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	return startProgram(t, exec.Command(program, "-http", "localhost:0", "-workers", "48", "-duration", "3m", "-outage", "150s"))
}

// startProgram starts a program, and gives the address of the page that it serves. At the
// end it is interrupted, and must have found everything in order.
func startProgram(t *testing.T, demo *exec.Cmd) string {
	t.Helper()
	pipe, err := demo.StdoutPipe()
	require.NoError(t, err)
	demo.Stderr = demo.Stdout
	require.NoError(t, demo.Start())
	lines := bufio.NewReader(pipe)
	var said strings.Builder
	t.Cleanup(func() {
		_ = demo.Process.Signal(syscall.SIGINT)
		rest, _ := io.ReadAll(lines)
		assert.NoError(t, demo.Wait(), "%s%s", said.String(), rest)
	})
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		require.NoError(t, err, "%s", said.String())
		if _, address, ok := strings.Cut(strings.TrimSpace(line), "the live page: "); ok {
			return address
		}
	}
}

func TestTheOutageOfTheDemoIsToldByTheFirstLine(t *testing.T) {
	b := open(t)
	address := startDemo(t)
	b.view(1100, 760)
	b.show(address)
	// Before the outage there is traffic, which the charts show.
	b.until("document.querySelectorAll('#squares .borrowed, #squares .idle').length === 8")
	b.until("document.getElementById('word').innerText === 'Problem' && document.querySelectorAll('#queue .waiter').length >= 40")
	b.until(`/^(Backing off|Probing) for /.test(document.getElementById("sentence").innerText)`)
	assert.Regexp(t, `^(Backing off|Probing) for \d+(\.\d)?s: the server cannot be reached\. `+
		`\d+ connects in a row have failed \(dial tcp 127\.0\.0\.1:\d+: connect: connection refused\), `+
		`(the next is due in \d+(\.\d)?m?s|the next is due now|one is tried now)\. \d+ callers wait\. The first \(worker \d+\) has waited \d`, b.text("sentence"))

	// All of one moment: who waits longest is first.
	waited := eval[[]float64](b, `data.pool.explain.waiters.map(w => w.waited)`)
	assert.Greater(t, len(waited), 10)
	assert.True(t, slices.IsSortedFunc(waited, func(a, b float64) int { return int(b - a) }), waited)
	labels := eval[bool](b, `data.pool.explain.waiters.every((w, i) => document.querySelectorAll("#waiters tbody tr")[i].cells[1].textContent === w.label)`)
	assert.True(t, labels)
	assert.Equal(t, 8.0, eval[float64](b, "document.querySelectorAll('#squares .free, #squares .connecting').length"), "no connection is left")
	assert.Contains(t, b.text("events"), "PoolBackoff")
	if *pictures {
		b.view(1100, 620)
		time.Sleep(40 * time.Second) // so that the charts have something to show
		b.until(`data.pool.explain.stats.waiting >= 40 && document.querySelectorAll("#queue .waiter").length >= 40`)
		b.picture("../../docs/page/outage.png")
	}
}
