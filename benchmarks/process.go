package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A process differs from the next in where its memory lies, how its garbage collector is
// doing, and what else the machine does just then. So the measurement runs in several of
// them, and what is reported is a statistic over processes. The program starts itself with
// one of these words as its first argument.
const (
	childMeasures = "measure-in-this-process"
	childCounts   = "cycles-for-a-counter"
)

// assignment is what a process reads from its standard input.
type assignment struct {
	Turns  int           `json:"turns"`
	Turn   time.Duration `json:"turn"`
	Cases  []string      `json:"cases"`
	Scales scales        `json:"scales"` // nil: find them, and measure nothing
}

// answer is what it writes to its standard output.
type answer struct {
	Scales  scales   `json:"scales,omitempty"`
	Samples []sample `json:"samples,omitempty"`
}

// child does the work of a process that was started by another one, if this is one.
func child(args []string) (is bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	switch args[0] {
	case childMeasures:
		return true, measureHere(os.Stdin, os.Stdout)
	case childCounts:
		return true, cyclesForACounter(args[1:])
	}
	return false, nil
}

func measureHere(in io.Reader, out io.Writer) error {
	var a assignment
	if err := json.NewDecoder(in).Decode(&a); err != nil {
		return err
	}
	chosen, err := casesNamed(a.Cases)
	if err != nil {
		return err
	}
	var r answer
	if a.Scales == nil {
		r.Scales, err = scaleAll(chosen, a.Turn)
	} else {
		r.Samples, err = measureAll(chosen, a.Turns, a.Turn, a.Scales)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// casesNamed returns the cases with these names. No names: all.
func casesNamed(names []string) ([]benchmark, error) {
	if len(names) == 0 {
		return cases, nil
	}
	var chosen []benchmark
	for _, name := range names {
		found := false
		for _, c := range cases {
			if c.name == name {
				chosen, found = append(chosen, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no case %q", name)
		}
	}
	return chosen, nil
}

// inAProcess has a new process carry out the assignment.
func inAProcess(a assignment) (answer, error) {
	self, err := os.Executable()
	if err != nil {
		return answer{}, err
	}
	in, err := json.Marshal(a)
	if err != nil {
		return answer{}, err
	}
	cmd := exec.Command(self, childMeasures)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaints
	if err := cmd.Run(); err != nil {
		return answer{}, fmt.Errorf("a measuring process failed: %w: %s", err, bytes.TrimSpace(complaints.Bytes()))
	}
	var r answer
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return answer{}, fmt.Errorf("a measuring process answered %.200q: %w", out.String(), err)
	}
	return r, nil
}

// measureInProcesses measures in one process after the other.
func measureInProcesses(processes int, a assignment, progress func(string)) ([]sample, error) {
	r, err := inAProcess(a)
	if err != nil {
		return nil, err
	}
	a.Scales = r.Scales
	var all []sample
	for i := 1; i <= processes; i++ {
		r, err := inAProcess(a)
		if err != nil {
			return nil, err
		}
		for _, s := range r.Samples {
			s.Process = i
			all = append(all, s)
		}
		progress(fmt.Sprintf("process %d of %d", i, processes))
	}
	return all, nil
}
