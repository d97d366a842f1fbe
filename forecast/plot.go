package forecast

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/actorpool/actorpool/messages"
)

// The picture, in pixels.
const (
	plotWidth, plotHeight = 760, 470
	plotLeft, plotRight   = 72, 736
	plotTop, plotBottom   = 124, 390
	linearUpTo            = 100 * time.Microsecond // the axis of the waits is linear up to here, and logarithmic above
	linearHeight          = 34                     // pixels of the linear part
)

// The colours are readable on light and on dark ground; where the reader's program says which one it
// has, the text is adapted.
const plotStyle = `
    text { font: 13px system-ui, sans-serif; fill: #6b7280 }
    .title { font-size: 16px; font-weight: 600 }
    .axis { stroke: #6b7280; stroke-width: 1; fill: none }
    .grid { stroke: #9ca3af; stroke-opacity: .35; stroke-width: 1; fill: none }
    .over { fill: #9ca3af; fill-opacity: .25 }
    .p99 { stroke: #d9622b; fill: #d9622b }
    .p50 { stroke: #2f7ed8; fill: #2f7ed8 }
    .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
    .band { stroke: none; fill-opacity: .22 }
    .bar { fill: none; stroke-width: 1.5 }
    @media (prefers-color-scheme: light) { text { fill: #374151 } }
    @media (prefers-color-scheme: dark) { text { fill: #d1d5db } }
  `

// WriteSVG draws how long half of the Gets and 99 % of them wait at most, against the capacity, with
// the bands of Low and High. Capacities for which no numbers are given, because the load is
// above [NumbersUpTo], are grey. r gives the title; it may be nil. The error says that none of
// the bands is a forecast, or is that of out.
func WriteSVG(out io.Writer, r *messages.Recording, bands []Band) error {
	p := newPicture(bands)
	if len(p.bands) == 0 {
		return fmt.Errorf("there is nothing to draw: none of the %d bands is a forecast", len(bands))
	}
	const title, of = "How long Gets wait, by capacity", "The bands are for holds that are 10 % shorter and 10 % longer"
	recorded := ""
	if r != nil {
		recorded = cut(summary(r), 95) // as much as fits
	}
	fmt.Fprintf(&p.s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&p.s, "  <title>%s</title>\n  <style>%s</style>\n", escape(title+". "+recorded+". "+of), plotStyle)
	p.text(plotLeft, 26, "title", "", title)
	p.text(plotLeft, 46, "", "", recorded)
	p.text(plotLeft, 64, "", "", of)
	p.axes()
	p.curve("p99", "99 % of the Gets wait no longer than this", 0, p99)
	p.curve("p50", "half of them", 1, func(w *Waits) time.Duration { return w.P50 })
	p.s.WriteString("</svg>\n")
	_, err := io.WriteString(out, p.s.String())
	return err
}

type picture struct {
	s       strings.Builder
	bands   []Band // those to draw, by capacity
	decades int    // above linearUpTo
}

func newPicture(bands []Band) *picture {
	p := &picture{decades: 1}
	for _, b := range bands {
		if b.Err == nil {
			p.bands = append(p.bands, b)
		}
	}
	slices.SortStableFunc(p.bands, func(a, b Band) int { return a.Capacity - b.Capacity })
	p.bands = slices.CompactFunc(p.bands, func(a, b Band) bool { return a.Capacity == b.Capacity })
	for _, b := range p.bands {
		if top := b.High.P99; b.Middle.Load <= NumbersUpTo && top > linearUpTo {
			p.decades = max(p.decades, int(math.Ceil(math.Log10(float64(top)/float64(linearUpTo)))))
		}
	}
	return p
}

// x is where a capacity stands: the axis is logarithmic, because a connection more is worth less the
// more there are.
func (p *picture) x(capacity float64) float64 {
	first, last := float64(p.bands[0].Capacity), float64(p.bands[len(p.bands)-1].Capacity)
	if first == last {
		return (plotLeft + plotRight) / 2
	}
	const margin = 40
	return plotLeft + margin + (plotRight-plotLeft-2*margin)*math.Log(capacity/first)/math.Log(last/first)
}

func (p *picture) y(wait time.Duration) float64 {
	if wait <= linearUpTo {
		return plotBottom - linearHeight*float64(wait)/float64(linearUpTo)
	}
	decade := (plotBottom - plotTop - linearHeight) / float64(p.decades)
	return plotBottom - linearHeight - decade*math.Log10(float64(wait)/float64(linearUpTo))
}

func (p *picture) axes() {
	p.text(plotLeft-48, plotTop-14, "", "", "wait")
	p.tick(0)
	wait := linearUpTo
	for range p.decades + 1 {
		p.tick(wait)
		wait *= 10
	}
	p.overload()
	fmt.Fprintf(&p.s, `  <path class="axis" d="M%d,%dV%dH%d"/>`+"\n", plotLeft, plotTop, plotBottom, plotRight)
	p.text(plotLeft-12, plotBottom+22, "", "end", "capacity")
	p.text(plotLeft-12, plotBottom+42, "", "end", "load")
	p.text((plotLeft+plotRight)/2, plotBottom+68, "", "middle", "connections the pool may have, and how much of them is in use")
	before := math.Inf(-1)
	for _, b := range p.bands {
		x := p.x(float64(b.Capacity))
		fmt.Fprintf(&p.s, `  <path class="axis" d="M%.1f,%dv5"/>`+"\n", x, plotBottom)
		if x-before < 44 { // it would cover the label before
			continue
		}
		before = x
		p.text(x, plotBottom+22, "", "middle", strconv.Itoa(b.Capacity))
		p.text(x, plotBottom+42, "", "middle", percent(b.Middle.Load))
	}
}

func (p *picture) tick(wait time.Duration) {
	y := p.y(wait)
	fmt.Fprintf(&p.s, `  <path class="grid" d="M%d,%.1fH%d"/>`+"\n", plotLeft, y, plotRight)
	p.text(plotLeft-8, y+4, "", "end", short(wait))
}

// overload makes the part grey where the load is too high for numbers. Load falls with capacity, so
// this is the left part.
func (p *picture) overload() {
	last := -1
	for i, b := range p.bands {
		if b.Middle.Load > NumbersUpTo {
			last = i
		}
	}
	if last < 0 {
		return
	}
	to := float64(plotRight)
	if last+1 < len(p.bands) {
		to = (p.x(float64(p.bands[last].Capacity)) + p.x(float64(p.bands[last+1].Capacity))) / 2
	}
	fmt.Fprintf(&p.s, `  <rect class="over" x="%d" y="%d" width="%.1f" height="%d"/>`+"\n", plotLeft, plotTop, to-plotLeft, plotBottom-plotTop)
	for i := range p.bands[:last+1] {
		b := &p.bands[i]
		word := "keeps up"
		if !b.Middle.KeepsUp {
			word = "does not keep up"
		}
		x := p.x(float64(b.Capacity))
		fmt.Fprintf(&p.s, `  <text x="%.1f" y="%d" transform="rotate(-90 %[1]f %[2]d)" text-anchor="middle">%s</text>`+"\n",
			x+4, (plotTop+plotBottom)/2, escape(word))
	}
}

// curve draws one quantile: the band between holds that are shorter and longer, the line of holds as
// recorded, and a bar for each capacity.
func (p *picture) curve(class, name string, row int, of func(*Waits) time.Duration) {
	var middle, upper, lower []string
	var bars strings.Builder
	for i := range p.bands {
		b := &p.bands[i]
		if b.Middle.Load > NumbersUpTo {
			continue
		}
		x := p.x(float64(b.Capacity))
		from, to := b.around(of)
		m, low, high := p.y(of(&b.Middle)), p.y(from), p.y(to)
		middle = append(middle, fmt.Sprintf("%.1f,%.1f", x, m))
		upper = append(upper, fmt.Sprintf("%.1f,%.1f", x, high))
		lower = append(lower, fmt.Sprintf("%.1f,%.1f", x, low))
		fmt.Fprintf(&bars, `  <path class="bar %s" d="M%.1f,%.1fV%.1f"/>`+"\n", class, x, low, high)
		fmt.Fprintf(&bars, `  <circle class="%s" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n", class, x, m)
	}
	slices.Reverse(lower)
	if len(middle) > 0 {
		fmt.Fprintf(&p.s, `  <polygon class="band %s" points="%s"/>`+"\n", class, strings.Join(append(upper, lower...), " "))
		fmt.Fprintf(&p.s, `  <polyline class="line %s" points="%s"/>`+"\n", class, strings.Join(middle, " "))
		p.s.WriteString(bars.String())
	}
	y := float64(plotTop - 38 + 18*row)
	fmt.Fprintf(&p.s, `  <path class="line %s" d="M%d,%.1fh26"/>`+"\n", class, plotRight-300, y)
	p.text(plotRight-266, y+4, "", "", name)
}

func (p *picture) text(x, y float64, class, anchor, s string) {
	attributes := ""
	if class != "" {
		attributes += fmt.Sprintf(` class="%s"`, class)
	}
	if anchor != "" {
		attributes += fmt.Sprintf(` text-anchor="%s"`, anchor)
	}
	fmt.Fprintf(&p.s, `  <text x="%.1f" y="%.1f"%s>%s</text>`+"\n", x, y, attributes, escape(s))
}

// cut shortens a text to at most so many characters.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// escape makes a text fit for XML.
func escape(s string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(s)) // a strings.Builder does not fail
	return out.String()
}
