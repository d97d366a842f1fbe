package main

import (
	"strings"
	"testing"
	"time"
)

// All loads can be measured. The test does not check the numbers.
func TestMeasure(t *testing.T) {
	table, err := measure(1, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"| 50ms | sleeps |", "| 50ms | computes |", "| 10ms | sleeps |", "| 10ms | computes |"} {
		if !strings.Contains(table, row) {
			t.Errorf("there is no row %q in\n%s", row, table)
		}
	}
}
