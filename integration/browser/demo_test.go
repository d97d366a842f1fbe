package browser

import (
	"bufio"
	"flag"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pictures = flag.Bool("pictures", false, "write the pictures of the documents")

// startDemo builds and starts the demo, with an outage that lasts longer than a test, and
// gives the address of its page. At the end it is interrupted, and must have found
// everything in order.
func startDemo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.Command("go", "build", "-o", program, "./quickstart")
	build.Dir = "../../examples"
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	demo := exec.Command(program, "-http", "localhost:0", "-workers", "48", "-duration", "3m", "-outage", "150s")
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
	b.until("document.getElementById('word').innerText === 'Problem'")
	b.until("document.querySelectorAll('#queue .waiter').length >= 40")
	sentence := b.text("sentence")
	assert.Regexp(t, `^(Backing off|Probing)( for [0-9ms ]+)?: the server cannot be reached\. `, sentence)
	t.Log(sentence)
}
