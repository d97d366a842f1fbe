package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Documents quote results between two comments, <!--bench NAME--> and <!--/bench-->. What is
// between them is made from results.json: by `make bench`, and by the test that compares.
var quoted = regexp.MustCompile(`(?s)(<!--bench ([a-z0-9-]+)-->)(.*?)(<!--/bench-->)`)

// quotes are the texts that documents quote, by name.
var quotes = map[string]func(*results) string{
	"readme-table":  func(r *results) string { return "\n" + r.readmeTable() },
	"readme-pauses": func(r *results) string { return "\n" + wrap(r.pauseText()) + "\n" },
	"machine":       func(r *results) string { return "\n" + wrap(r.machine()) + "\n" },
	"goals":         func(r *results) string { return "\n" + r.goalTable() },
	"missed":        func(r *results) string { return "\n" + wrap(r.missedText()) + "\n" },
	"instructions":  func(r *results) string { return "\n" + r.instructionTable() },
	"pauses":        func(r *results) string { return "\n" + r.pauseTable() },
	"cold":          func(r *results) string { return "\n" + r.coldTable() },
	"fairness": func(r *results) string {
		return "\n" + r.caseTable(cases[slices.IndexFunc(cases, func(c benchmark) bool { return c.kind == shares })])
	},
	"noise":          func(r *results) string { return "\n" + r.noiseTable() },
	"serial-ns":      func(r *results) string { return fmt.Sprintf("%.0f ns", r.of("serial", reference, nsPerOp).median) },
	"pause-verdicts": func(r *results) string { return "\n" + wrap(r.pauseVerdicts()) + "\n" },
}

// requote replaces what a document quotes.
func requote(r *results, text string) (string, error) {
	var unknown []string
	changed := quoted.ReplaceAllStringFunc(text, func(found string) string {
		parts := quoted.FindStringSubmatch(found)
		f := quotes[parts[2]]
		if f == nil {
			unknown = append(unknown, parts[2])
			return found
		}
		return parts[1] + f(r) + parts[4]
	})
	if unknown != nil {
		return "", fmt.Errorf("there are no results named %q; there are %q", unknown, slices.Sorted(maps.Keys(quotes)))
	}
	if n := strings.Count(text, "<!--bench "); n != len(quoted.FindAllString(text, -1)) {
		return "", fmt.Errorf("%d quotes begin, and not each of them ends with <!--/bench-->", n)
	}
	return changed, nil
}

// documents returns the Markdown files among the files and in the folders.
func documents(paths []string) ([]string, error) {
	var found []string
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) == ".md" {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// quoteIn replaces the quotes in all documents.
func quoteIn(r *results, paths []string) error {
	files, err := documents(paths)
	if err != nil {
		return err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed, err := requote(r, string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if changed == string(text) {
			continue
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *results) readmeTable() string {
	var b strings.Builder
	b.WriteString(wrap(r.provisional()+fmt.Sprintf("One Get and Put in a tight loop, over connections that cost nothing, in nanoseconds: medians over %d "+
		"processes, on %d processors (%s, %s). In brackets, how many times actorpool's time that is, as the median of the ratios "+
		"within a process.", r.Processes, r.NumCPU, strings.Replace(r.Go, "go", "Go ", 1), r.CPU)) + "\n\n")
	b.WriteString("| | one goroutine | one for each core | 64 goroutines on 4 connections | 10,000 on 100 | instructions, one goroutine | allocations, waiting |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|\n")
	for _, row := range []struct{ text, pool string }{
		{"**actorpool**", reference},
		{"a second one, for the noise", again},
		{"puddle v2", "puddle"},
		{"database/sql", "database/sql"},
		{"the same pool on the actor library's own mailbox", ownMailbox},
		{"a lock-free pool", "lockfree"},
		{"a buffered channel", "channel"},
		{"a mutex and a slice", "mutex+slice"},
	} {
		fmt.Fprintf(&b, "| %s |", row.text)
		for _, name := range []string{"serial", "parallel", "exhausted", "crowd"} {
			fmt.Fprintf(&b, " %.0f", r.of(name, row.pool, nsPerOp).median)
			if row.pool != reference {
				fmt.Fprintf(&b, " (%s×)", times(r.ratio(name, row.pool, reference, nsPerOp).median))
			}
			b.WriteString(" |")
		}
		counted := ""
		if c, ok := r.count(row.pool); ok {
			counted = fmt.Sprintf("%.0f", c.Instructions)
		}
		fmt.Fprintf(&b, " %s | %.0f |\n", counted, r.of("exhausted", row.pool, allocsPerOp).median)
	}
	return b.String()
}

func times(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// quotedPauses are the pauses that are compared with puddle in words.
var quotedPauses = []struct{ name, text string }{
	{"pause-20us-memory", "after 20 µs that write to 1 MB"},
	{"pause-1ms-memory", "after 1 ms that writes to 16 MB"},
	{"pause-20us-sleep", "after a sleep of 20 µs"},
	{"pause-1ms-sleep", "after a sleep of 1 ms"},
	{"pause-code", "after other code that fills the caches"},
}

// pauseText compares the medians after a pause with those of puddle, in words.
func (r *results) pauseText() string {
	var parts []string
	for _, q := range quotedPauses {
		parts = append(parts, fmt.Sprintf("%s, %s and %s (%.2f)", q.text, nanos(r.of(q.name, reference, p50).median),
			nanos(r.of(q.name, "puddle", p50).median), r.ratio(q.name, reference, "puddle", p50).median))
	}
	return "Medians of one Get and Put here and in puddle, and their ratio: " + strings.Join(parts, "; ") + "."
}

// nanos writes a time with as many digits as mean something.
func nanos(v float64) string {
	if v < 1000 {
		return fmt.Sprintf("%.0f ns", v)
	}
	return fmt.Sprintf("%.2f µs", v/1e3)
}

func (r *results) pauseTable() string {
	var b strings.Builder
	shown := []string{nothing, "mutex+slice", "lockfree", reference, again, "puddle", "database/sql"}
	fmt.Fprintf(&b, "| before each Get | %s | ratio to puddle | A/A |\n|---|%s---:|---|\n", strings.Join(shown, " | "), strings.Repeat("---:|", len(shown)))
	for _, p := range pauses {
		fmt.Fprintf(&b, "| %s |", strings.TrimSuffix(strings.Replace(strings.Replace(p.what, " before each Get", "", 1), ": the same measurement in a tight loop", "", 1), ":"))
		for _, pool := range shown {
			fmt.Fprintf(&b, " %.0f |", r.of(p.name, pool, p50).median)
		}
		fmt.Fprintf(&b, " %s | %s |\n", ratioText(r.ratio(p.name, reference, "puddle", p50)), noiseText(r.noise(p.name, p50)))
	}
	return b.String()
}

// pauseVerdicts says what of the time after a pause is the pool's.
func (r *results) pauseVerdicts() string {
	var parts []string
	for _, q := range quotedPauses {
		base := r.of(q.name, nothing, p50).median
		parts = append(parts, fmt.Sprintf("%s, an empty function takes %s, and this pool adds %s, puddle %s", q.text, nanos(base),
			nanos(r.of(q.name, reference, p50).median-base), nanos(r.of(q.name, "puddle", p50).median-base)))
	}
	return "In numbers: " + strings.Join(parts, "; ") + "."
}

func (r *results) noiseTable() string {
	var b strings.Builder
	b.WriteString("| case | ratio of two identical pools | half of the processes in |\n|---|---|---|\n")
	for _, c := range cases {
		m := nsPerOp
		switch c.kind {
		case waits:
			m = p99
		case pausing:
			m = p50
		case shares:
			continue
		}
		if s := r.noise(c.name, m); s.median > 0 { // 0: this pool is not in the case
			fmt.Fprintf(&b, "| %s | %s | %.2f to %.2f |\n", c.name, ratioText(s), s.low, s.high)
		}
	}
	return b.String()
}

// missedText lists the goals that are not met.
func (r *results) missedText() string {
	var missed []string
	for _, g := range goals {
		got := r.ratio(g.name, g.pool, g.to, g.measure)
		v := verdict(got, r.leastRatio(g.name, g.pool, g.to, g.measure), g.bound, r.noise(g.name, g.measure))
		if !strings.HasPrefix(v, "met") {
			missed = append(missed, fmt.Sprintf("%s: %.2f, the bound is %.2f", g.text, got.median, g.bound))
		}
	}
	if n, ok := r.ownInstructions(); ok && n > instructionsBound {
		missed = append(missed, fmt.Sprintf("instructions: %.0f, the bound is %d", n, instructionsBound))
	}
	if missed == nil {
		return "No goal is missed."
	}
	return "Missed, or met by only one of the two ratios: " + strings.Join(missed, "; ") + "."
}
