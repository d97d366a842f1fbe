package main

import (
	"strings"
	"testing"
	"time"
)

// All loads can be measured. The test does not check the numbers.
func TestMeasure(t *testing.T) {
	var report strings.Builder
	if err := measure(&report, 1, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| 50ms | sleeps |", "| 50ms | computes |", "| 10ms | sleeps |", "| 10ms | computes |"} {
		if !strings.Contains(report.String(), row) {
			t.Errorf("there is no row %q in\n%s", row, &report)
		}
	}
}
