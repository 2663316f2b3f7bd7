//! Line plots as SVG: panels side by side, x on a logarithmic axis, y from zero on.

use std::fmt::Write;

/// One plot.
pub(crate) struct Panel {
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// One line: its name, and its points from left to right.
pub(crate) type Line = (&'static str, Vec<(f64, f64)>);

const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 3] = ["#1f5fa8", "#b3261e", "#1b7a3d"];

/// The panels as one picture.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH * panels.len() as f64
    );
    for (index, panel) in panels.iter().enumerate() {
        let body = draw(panel).expect("text");
        let _written = writeln!(out, "<g transform=\"translate({} 0)\">\n{body}</g>", WIDTH * index as f64);
    }
    out + "</svg>\n"
}

fn draw(panel: &Panel) -> Result<String, std::fmt::Error> {
    let points = || panel.lines.iter().flat_map(|(_, points)| points);
    let decades = points().map(|(x, _)| x.log10()).fold(1.0, f64::max);
    let step = step(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let steps = (points().map(|(_, y)| *y).fold(0.0, f64::max) / step).ceil();
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let across = |x: f64| LEFT + (right - LEFT) * x.log10() / decades;
    let up = |y: f64| bottom - (bottom - TOP) * y / (step * steps);
    let mut out = String::new();
    for number in 0..=steps as u32 {
        let (y, value) = (up(step * f64::from(number)), step * f64::from(number));
        writeln!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", LEFT - 6.0, y + 4.0)?;
    }
    for decade in 0..=decades as i32 {
        let value = 10_f64.powi(decade);
        let x = across(value);
        writeln!(out, "<path d=\"M{x:.1} {bottom}v5\" stroke=\"black\"/>")?;
        writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>", bottom + 18.0)?;
    }
    writeln!(out, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>")?;
    let middle = (LEFT + right) / 2.0;
    writeln!(out, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 38.0, panel.x)?;
    writeln!(
        out,
        "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        HEIGHT / 2.0,
        panel.y
    )?;
    for (index, (name, points)) in panel.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )?;
        let y = TOP - 14.0 + 14.0 * index as f64;
        writeln!(out, "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>", LEFT + 8.0)?;
    }
    Ok(out)
}

/// 1, 2 or 5 times a power of ten, of which at most five make up `most`.
fn step(most: f64) -> f64 {
    let rough = most.max(1e-9) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(rough)
}
