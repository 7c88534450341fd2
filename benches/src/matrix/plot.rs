//! The table as a picture: residual loss over the loss on the wire, a panel for each kind of loss.

use std::fmt::Write as _;
use std::time::Duration;

use super::cell::{Budget, Cell, Kind, Rate, percent};
use super::grid::{KINDS, LOSSES};
use super::sweep::Row;
use super::table::ideal;
use super::variants::{CONTROLLER, FEC, NACK, UNPROTECTED};

const PANEL: f64 = 260.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 64.0;
const GAP: f64 = 26.0;
const BOTTOM: f64 = 82.0;

/// Powers of ten at the top and the bottom of the axis. Below is room for "none".
const DECADES: (i32, i32) = (0, -7);

/// Style of both themes: a picture in an `<img>` follows the theme of whoever looks at it.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:14px;font-weight:600}\
.axis{stroke:#57606a;fill:none}.grid{stroke:#57606a;stroke-opacity:.2;fill:none}.back{fill:#fff}\
.line{fill:none;stroke-width:2}.s0{stroke:#6e7781;fill:#6e7781}.s1{stroke:#bc4c00;fill:#bc4c00}\
.s2{stroke:#8250df;fill:#8250df}.s3{stroke:#0969da;fill:#0969da}.s4{stroke:#1a7f37;fill:#1a7f37}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis,.grid{stroke:#8b949e}.back{fill:#0d1117}\
.s0{stroke:#8b949e;fill:#8b949e}.s1{stroke:#f0883e;fill:#f0883e}.s2{stroke:#bc8cff;fill:#bc8cff}\
.s3{stroke:#58a6ff;fill:#58a6ff}.s4{stroke:#3fb950;fill:#3fb950}}\
.line{fill:none}.none{fill-opacity:0;stroke-width:1.5}";

/// Whether a cell is in the picture: 8 Mbit/s at a round-trip time of 20 ms, with room for several round trips.
fn is_plotted(cell: &Cell) -> bool {
    cell.rate == Rate::Eight
        && cell.rtt == Duration::from_millis(20)
        && cell.budget == Budget::Roomy
        && cell.step.is_none()
        && cell.path_count() == 1
        && cell.loss > 0.0
}

/// Draws `rows`: for each kind of loss, the residual of each scheme and of the ideal code over the loss on the wire, both on logarithmic scales.
#[must_use]
pub fn svg(rows: &[Row]) -> String {
    let width = LEFT + (PANEL + GAP) * KINDS.len() as f64;
    let height = TOP + HEIGHT + BOTTOM;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>Packets lost for good, over packets lost on the wire</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"22\">Packets lost for good, of those sent: \
         8 Mbit/s, round trip 20 ms, latency budget 100 ms</text>\n"
    );
    for (panel, kind) in KINDS.into_iter().enumerate() {
        let left = LEFT + (PANEL + GAP) * panel as f64;
        frame(&mut out, left, kind, panel == 0);
        let plotted: Vec<&Row> =
            rows.iter().filter(|row| is_plotted(&row.cell) && row.cell.kind == kind).collect();
        for (series, name) in NAMES.into_iter().enumerate() {
            let points: Vec<_> = plotted
                .iter()
                .filter_map(|row| Some((row.cell.loss, value(row, name)?)))
                .map(|(loss, residual)| {
                    (left + x(loss), y(residual), residual.log10() >= f64::from(DECADES.1))
                })
                .collect();
            line(&mut out, series, &points);
        }
    }
    legend(&mut out, rows);
    out.push_str("</svg>\n");
    out
}

/// Series, in the order of their colours.
const NAMES: [&str; 5] = [UNPROTECTED, NACK, FEC, IDEAL, CONTROLLER];

const IDEAL: &str = "ideal code of the same size";

fn value(row: &Row, name: &str) -> Option<f64> {
    if name == IDEAL {
        ideal(row).map(|(_, residual)| residual)
    } else {
        row.outcome(name).map(super::tally::Outcome::residual)
    }
}

fn x(loss: f64) -> f64 {
    let shares = || LOSSES.into_iter().filter(|&share| share > 0.0).map(f64::log10);
    let (least, most) = (shares().fold(0.0, f64::min) - 0.1, shares().fold(f64::MIN, f64::max) + 0.1);
    PANEL * (loss.log10() - least) / (most - least)
}

/// Where a share is; no loss, and what is below the axis, has a line of its own at the bottom.
fn y(residual: f64) -> f64 {
    let decade = HEIGHT / (f64::from(DECADES.0 - DECADES.1) + 0.6);
    let exponent = residual.log10();
    let down =
        if exponent < f64::from(DECADES.1) { HEIGHT } else { decade * (f64::from(DECADES.0) - exponent) };
    TOP + down
}

fn frame(out: &mut String, left: f64, kind: Kind, first: bool) {
    let (right, bottom) = (left + PANEL, TOP + HEIGHT);
    let title = match kind {
        Kind::Random => "random loss".to_owned(),
        Kind::Burst(run) => format!("bursts of {run} on average"),
    };
    let _ = writeln!(out, "<text x=\"{left}\" y=\"{:.0}\">{title}</text>", TOP - 10.0);
    for exponent in DECADES.1..=DECADES.0 {
        let y = y(10_f64.powi(exponent));
        let _ = writeln!(out, "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>");
        if first {
            let label = match exponent {
                0 => "100 %".to_owned(),
                -2..=-1 => format!("{} %", 10_f64.powi(exponent + 2)),
                _ => format!("10<tspan dy=\"-4\" font-size=\"9\">{exponent}</tspan>"),
            };
            let _ = writeln!(
                out,
                "<text text-anchor=\"end\" x=\"{:.0}\" y=\"{:.1}\">{label}</text>",
                left - 8.0,
                y + 4.0
            );
        }
    }
    if first {
        let _ = writeln!(
            out,
            "<text text-anchor=\"end\" x=\"{:.0}\" y=\"{:.1}\">none</text>",
            left - 8.0,
            bottom + 4.0
        );
    }
    for loss in LOSSES.into_iter().filter(|&loss| loss > 0.0) {
        let at = left + x(loss);
        let _ = writeln!(out, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        let _ = writeln!(
            out,
            "<text text-anchor=\"middle\" x=\"{at:.1}\" y=\"{:.0}\">{}</text>",
            bottom + 18.0,
            percent(loss).replace('%', " %")
        );
    }
    let _ = writeln!(out, "<path class=\"axis\" d=\"M{left} {TOP}V{bottom}H{right}\"/>");
    let _ = writeln!(
        out,
        "<text text-anchor=\"middle\" x=\"{:.0}\" y=\"{:.0}\">lost on the wire</text>",
        left + PANEL / 2.0,
        bottom + 36.0
    );
}

/// A line through `points`, and a dot at each; a ring where nothing was lost, or less than the axis shows.
fn line(out: &mut String, series: usize, points: &[(f64, f64, bool)]) {
    if points.is_empty() {
        return;
    }
    let dashes = if NAMES.get(series) == Some(&IDEAL) { " stroke-dasharray=\"5 4\"" } else { "" };
    let path: Vec<String> = points.iter().map(|(x, y, _)| format!("{x:.1} {y:.1}")).collect();
    let _ = writeln!(out, "<path class=\"s{series} line\"{dashes} d=\"M{}\"/>", path.join("L"));
    for (x, y, some) in points {
        let none = if *some { "" } else { " none" };
        let _ = writeln!(out, "<circle class=\"s{series}{none}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
    }
}

/// Names of what is drawn.
fn legend(out: &mut String, rows: &[Row]) {
    let y = TOP + HEIGHT + 64.0;
    let mut x = LEFT;
    for (series, name) in NAMES.into_iter().enumerate() {
        if rows.iter().any(|row| is_plotted(&row.cell) && value(row, name).is_some()) {
            let _ =
                writeln!(out, "<circle class=\"s{series}\" cx=\"{x:.0}\" cy=\"{:.0}\" r=\"4\"/>", y - 4.0);
            let _ = writeln!(out, "<text x=\"{:.0}\" y=\"{y:.0}\">{name}</text>", x + 10.0);
            // Letters are 6.5 wide on average.
            x += 40.0 + name.len() as f64 * 6.5;
        }
    }
}
