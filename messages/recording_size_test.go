package messages

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFileIsWrittenUpToTheSizeThatIsRead(t *testing.T) {
	w := &countingWriter{w: io.Discard, n: maxRecordedBytes - 2}
	_, err := w.Write([]byte("[\n"))
	require.NoError(t, err)
	n, err := w.Write([]byte("\n"))
	require.EqualError(t, err, "actorpool: recording: it has more than 1073741824 bytes")
	assert.Zero(t, n)
	assert.EqualValues(t, maxRecordedBytes, w.n, "nothing more is written")
}
