package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/forecast"
	"github.com/actorpool/actorpool/messages"
)

// The documents quote this recording, which integration/forecast has made.
const (
	orders           = "testdata/orders.jsonl.gz"
	ordersCapacities = "2,3,4,5,6,8,12,16"
	ordersGoal       = 50 * time.Millisecond // 99 % of the Gets should wait no longer
)

// quoted is what is made by this test in a document.
var quoted = regexp.MustCompile(`(?s)(<!--forecast ([a-z-]+)-->)(.*?)(<!--/forecast-->)`)

func TestTheDocumentOnSizingQuotesTheForecast(t *testing.T) {
	f, err := os.Open(orders)
	require.NoError(t, err)
	defer f.Close()
	r, err := messages.ReadRecording(f)
	require.NoError(t, err)
	svg := filepath.Join(t.TempDir(), "orders.svg")
	printed := command(nil, "-capacities", ordersCapacities, "-svg", svg, orders)
	require.Equal(t, good, printed.status, printed.problems)
	table, _, _ := strings.Cut(printed.out, "\n\nCapacity")
	s := sizing{r: r, bands: forecast.Predict(r, forecast.WhatIf{Capacities: []int{2, 3, 4, 5, 6, 8, 12, 16}})}
	s.measure()
	quotes := map[string]string{
		"little":   s.little(),
		"erlang":   s.erlang(),
		"table":    "\n```\n" + table + "\n```\n",
		"words":    s.words(),
		"answer":   s.answer(),
		"reality":  s.reality(),
		"capacity": s.notes(),
	}
	const document = "../../docs/sizing.md"
	content, err := os.ReadFile(document)
	require.NoError(t, err)
	seen := 0
	made := quoted.ReplaceAllStringFunc(string(content), func(found string) string {
		parts := quoted.FindStringSubmatch(found)
		quote, known := quotes[parts[2]]
		assert.True(t, known, "nothing makes %s", parts[2])
		seen++
		return parts[1] + quote + parts[4]
	})
	assert.Equal(t, len(quotes), seen, "the document quotes each of them once")
	picture, err := os.ReadFile(svg)
	require.NoError(t, err)
	if *rewrite {
		require.NoError(t, os.WriteFile(document, []byte(made), 0o600))
		require.NoError(t, os.WriteFile("../../docs/sizing/orders.svg", picture, 0o600))
		return
	}
	assert.Equal(t, made, string(content), "go test ./cmd/poolforecast -rewrite writes it")
	drawn, err := os.ReadFile("../../docs/sizing/orders.svg")
	require.NoError(t, err)
	assert.Equal(t, string(picture), string(drawn))
}

// sizing is the worked example of the document.
type sizing struct {
	r     *messages.Recording
	bands []forecast.Band
	rate  float64 // Gets per second
	hold  float64 // seconds on average
}

func (s *sizing) measure() {
	n := 0
	for _, g := range s.r.Gets {
		if g.Outcome == messages.RecordedGranted && !g.Out {
			s.hold += g.Hold.Seconds()
			n++
		}
	}
	s.hold /= float64(n)
	s.rate = float64(len(s.r.Gets)) / s.r.Length.Seconds()
}

func (s *sizing) load() float64 { return s.rate * s.hold }

func (s *sizing) little() string {
	return fmt.Sprintf("\n%d Gets came in %.1f s, so λ is %.0f per second. They held a connection for %.1f ms on average. So a = λ·h = %.1f\n"+
		"connections were in use on average, and %d is the least capacity that can keep up.\n",
		len(s.r.Gets), s.r.Length.Seconds(), s.rate, s.hold*1000, s.load(), int(s.load())+1)
}

// formula is Erlang's: the share that waits, the mean wait, and the wait that 99 % do not exceed.
func (s *sizing) formula(c int) (waits float64, mean, p99 time.Duration) {
	a, b := s.load(), 1.0
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	waits = b / (1 - a/float64(c)*(1-b))
	each := s.hold / (float64(c) - a) * float64(time.Second)
	return waits, time.Duration(waits * each), time.Duration(max(0, math.Log(100*waits)*each))
}

func (s *sizing) erlang() string {
	var out strings.Builder
	out.WriteString("\n| Capacity | in use | Gets that wait | mean wait | 99 % wait less than |\n|---:|---:|---:|---:|---:|\n")
	for _, b := range s.bands {
		if float64(b.Capacity) <= s.load() {
			fmt.Fprintf(&out, "| %d | cannot keep up | | | |\n", b.Capacity)
			continue
		}
		waits, mean, p99 := s.formula(b.Capacity)
		fmt.Fprintf(&out, "| %d | %.0f %% | %.1f %% | %.2f ms | %.1f ms |\n", b.Capacity, s.load()/float64(b.Capacity)*100, waits*100,
			mean.Seconds()*1000, p99.Seconds()*1000)
	}
	return out.String()
}

// words are those on two of the capacities.
func (s *sizing) words() string {
	var out strings.Builder
	out.WriteString("\n")
	for _, b := range s.bands {
		if b.Capacity == 4 || b.Capacity == 6 {
			out.WriteString("> Capacity " + fmt.Sprint(b.Capacity) + ": " + b.Words + "\n>\n")
		}
	}
	return fold(strings.TrimSuffix(out.String(), ">\n"))
}

// answer compares what the formula and the forecast say about the goal.
func (s *sizing) answer() string {
	byFormula, byForecast := 0, 0
	for _, b := range s.bands {
		if _, _, p99 := s.formula(b.Capacity); byFormula == 0 && float64(b.Capacity) > s.load() && p99 <= ordersGoal {
			byFormula = b.Capacity
		}
		if byForecast == 0 && b.High.P99 <= ordersGoal && b.Promised {
			byForecast = b.Capacity
		}
	}
	return fold(fmt.Sprintf("\nOf the capacities above, the formula says that %d are enough for the goal. The forecast says %d: the least one whose 99 %% are "+
		"below %d ms also with holds that are 10 %% longer.\n", byFormula, byForecast, ordersGoal.Milliseconds()))
}

// measured is what came when the service ran in other pools: integration/forecast has measured it.
var measured = map[int]struct{ mean, p99 string }{4: {"17.3", "95.5"}, 5: {"3.6", "37.3"}, 6: {"1.3", "26.5"}}

func (s *sizing) reality() string {
	var out strings.Builder
	out.WriteString("\n| Capacity | mean: formula | forecast | measured | 99 %: formula | forecast | measured |\n|---:|---:|---:|---:|---:|---:|---:|\n")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }
	for _, b := range s.bands {
		came, tried := measured[b.Capacity]
		if !tried {
			continue
		}
		_, mean, p99 := s.formula(b.Capacity)
		fmt.Fprintf(&out, "| %d | %s | %s (%s to %s) | %s | %s | %s (%s to %s) | %s |\n", b.Capacity, ms(mean), ms(b.Middle.Mean), ms(b.MeanFrom), ms(b.MeanTo),
			came.mean, ms(p99), ms(b.Middle.P99), ms(b.Low.P99), ms(b.High.P99), came.p99)
	}
	return out.String()
}

// notes are those that hold for all capacities.
func (s *sizing) notes() string {
	var out strings.Builder
	out.WriteString("\n")
	for i, n := range s.bands[0].Notes {
		if i < 2 {
			out.WriteString("- " + n + "\n")
		}
	}
	return fold(out.String())
}

// fold breaks lines after at most 118 characters.
func fold(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		next := ""
		switch {
		case strings.HasPrefix(line, "> "):
			next = "> "
		case strings.HasPrefix(line, "- "):
			next = "  "
		}
		for len([]rune(line)) > 118 {
			at := strings.LastIndex(string([]rune(line)[:118]), " ")
			if strings.HasPrefix(line[at:], " %") {
				at = strings.LastIndex(line[:at], " ")
			}
			out.WriteString(line[:at] + "\n")
			line = next + line[at+1:]
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}
