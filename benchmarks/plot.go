package main

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var (
	ours   = color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}
	theirs = color.RGBA{R: 0xb0, G: 0xb0, B: 0xb0, A: 0xff}
	darker = color.RGBA{R: 0x70, G: 0x70, B: 0x70, A: 0xff}
)

// plots draws one chart for each case.
func (r *results) plots(dir string) error {
	for _, c := range cases {
		if !c.drawn() || r.of(c.name, reference, nsPerOp) == (spread{}) {
			continue
		}
		p := plot.New()
		p.Title.Text = c.name
		p.BackgroundColor = color.White
		var err error
		if c.kind == waits {
			err = r.drawWaits(p, c)
		} else {
			err = r.drawTimes(p, c)
		}
		if err != nil {
			return err
		}
		if err := p.Save(9*vg.Inch, 3.2*vg.Inch, filepath.Join(dir, c.name+".svg")); err != nil {
			return err
		}
	}
	return nil
}

// drawTimes draws a bar for each pool, with the minimum and the maximum as whiskers.
func (r *results) drawTimes(p *plot.Plot, c benchmark) error {
	p.Y.Label.Text = "ns for Get and Put"
	// The bar of the library's own mailbox would be far longer than all others. It is cut; the
	// number below it is right.
	limit := 0.0
	for _, kind := range contestants {
		if kind.name != ownMailbox {
			limit = max(limit, 1.5*r.of(c.name, kind.name, nsPerOp).median)
		}
	}
	limit = 100 * math.Ceil(limit/100)
	p.Y.Max = limit
	var names []string
	whiskers := whiskerData{}
	for i, kind := range contestants {
		s := r.of(c.name, kind.name, nsPerOp)
		colour := theirs
		if kind.name == reference || kind.name == again {
			colour = ours
		}
		top := min(s.median, limit)
		if err := bar(p, float64(i), top, colour, 24, 0); err != nil {
			return err
		}
		names = append(names, fmt.Sprintf("%s\n%.0f", kind.name, s.median))
		whiskers.XYs = append(whiskers.XYs, plotter.XY{X: float64(i), Y: top})
		whiskers.YErrors = append(whiskers.YErrors, struct{ Low, High float64 }{top - min(s.min, limit), min(s.max, limit) - top})
	}
	return finish(p, names, whiskers)
}

// drawWaits draws the median and the 99th percentile of the wait.
func (r *results) drawWaits(p *plot.Plot, c benchmark) error {
	p.Title.Text = "time of a Get, median and 99th percentile"
	p.Y.Label.Text = "µs"
	var names []string
	whiskers := whiskerData{}
	for i, kind := range contestants {
		half, most := r.of(c.name, kind.name, p50), r.of(c.name, kind.name, p99)
		colour := darker
		if kind.name == reference || kind.name == again {
			colour = ours
		}
		if err := bar(p, float64(i), half.median/1e3, theirs, 14, -8); err != nil {
			return err
		}
		if err := bar(p, float64(i), most.median/1e3, colour, 14, 8); err != nil {
			return err
		}
		names = append(names, fmt.Sprintf("%s\n%.0f, %.0f", kind.name, half.median/1e3, most.median/1e3))
	}
	return finish(p, names, whiskers)
}

// whiskerData are the points and whiskers of a chart.
type whiskerData struct {
	plotter.XYs
	plotter.YErrors
}

func bar(p *plot.Plot, at, value float64, colour color.Color, width, offset vg.Length) error {
	b, err := plotter.NewBarChart(plotter.Values{value}, vg.Points(float64(width)))
	if err != nil {
		return err
	}
	b.XMin, b.Color, b.LineStyle.Width, b.Offset = at, colour, 0, offset
	p.Add(b)
	return nil
}

func finish(p *plot.Plot, names []string, whiskers whiskerData) error {
	if len(whiskers.XYs) > 0 {
		e, err := plotter.NewYErrorBars(whiskers)
		if err != nil {
			return err
		}
		p.Add(e)
	}
	p.Y.Min = 0
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4
	return nil
}
