package overload

import (
	"image/color"
	"os"
	"path/filepath"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// line is one line of the plot.
type line struct {
	name string
	day  *day
}

var colours = []color.Color{
	color.RGBA{R: 0xc0, A: 0xff},
	color.RGBA{R: 0xe0, G: 0x90, A: 0xff},
	color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff},
}

// picture draws the waits of the served callers, and the number of waiters, over time.
func picture(file string, lines []line) error {
	waits, queue := plot.New(), plot.New()
	waits.Title.Text = "Twice as many callers as can be served"
	waits.Y.Label.Text = "wait of those served, ms"
	waits.Y.Scale = plot.LogScale{}
	waits.Y.Tick.Marker = plot.ConstantTicks{
		{Value: 10, Label: "10"}, {Value: 100, Label: "100"}, {Value: 1000, Label: "1,000"}, {Value: 10_000, Label: "10,000"},
	}
	queue.X.Label.Text = "seconds since it began"
	queue.Y.Label.Text = "callers that wait"
	queue.Y.Tick.Marker = plot.ConstantTicks{
		{Value: 0, Label: "0"}, {Value: 2000, Label: "2,000"}, {Value: 4000, Label: "4,000"}, {Value: 6000, Label: "6,000"},
	}
	for _, p := range []*plot.Plot{waits, queue} {
		p.BackgroundColor = color.White
		p.Add(plotter.NewGrid())
	}
	for i, l := range lines {
		for _, part := range []struct {
			p  *plot.Plot
			of plotter.XYs
		}{{waits, l.day.longest()}, {queue, l.day.waiting()}} {
			drawn, err := plotter.NewLine(part.of)
			if err != nil {
				return err
			}
			drawn.Color, drawn.Width = colours[i], vg.Points(2)
			part.p.Add(drawn)
			if part.p == waits {
				waits.Legend.Add(l.name, drawn)
			}
		}
	}
	limit, err := plotter.NewLine(plotter.XYs{{X: 0, Y: ms(2 * target)}, {X: lasts.Seconds(), Y: ms(2 * target)}})
	if err != nil {
		return err
	}
	limit.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	waits.Add(limit)
	waits.Legend.Add("twice the target", limit)
	waits.Legend.Left = true
	waits.Legend.XOffs, waits.Legend.YOffs = vg.Points(120), vg.Points(2)
	for _, p := range []*plot.Plot{waits, queue} {
		p.X.Min, p.X.Max = 0, lasts.Seconds()
	}
	waits.Y.Min, waits.Y.Max = 10, 30_000
	queue.Y.Min, queue.Y.Max = 0, 6500

	c := vgsvg.New(9*vg.Inch, 6.5*vg.Inch)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadY: vg.Points(8), PadTop: vg.Points(4), PadRight: vg.Points(12), PadBottom: vg.Points(4), PadLeft: vg.Points(4)}
	whole := draw.New(c)
	whole.SetColor(color.White)
	whole.Fill(whole.Path())
	plots := [][]*plot.Plot{{waits}, {queue}}
	for i, row := range plot.Align(plots, tiles, whole) {
		plots[i][0].Draw(row[0])
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// longest returns the longest wait of the callers that were served, for each fifth of a second.
func (d *day) longest() plotter.XYs {
	const step = 200 * time.Millisecond
	most := make([]time.Duration, d.lasts/step)
	for i := range d.callers {
		if c := &d.callers[i]; c.err == nil && c.left() < d.lasts {
			most[c.left()/step] = max(most[c.left()/step], c.waited)
		}
	}
	var xys plotter.XYs
	for i, w := range most {
		at := time.Duration(i)*step + step/2
		xys = append(xys, plotter.XY{X: at.Seconds(), Y: max(1, ms(w))})
	}
	return xys
}

// waiting returns the number of waiters over time.
func (d *day) waiting() plotter.XYs {
	var xys plotter.XYs
	for i, n := range d.queue {
		xys = append(xys, plotter.XY{X: (time.Duration(i) * moment).Seconds(), Y: float64(n)})
	}
	return xys
}
