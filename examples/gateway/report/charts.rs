//! The time lines, as SVG: latency, threads held, refusals and breaker of one architecture.

use std::error::Error;
use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::plan::{Phase, Route};
use crate::recorder::{SLICE_MS, Slice, SliceFigures};
use crate::server::stats::Breaker;
use crate::story::Run;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;
type Points = Vec<(f64, f64)>;

const SIZE: (u32, u32) = (420, 230);
/// From a refusal to longer than any run.
const LATENCY_MS: Range<f64> = 0.1..30_000.0;

#[derive(Clone, Copy)]
pub(super) enum Chart {
    Latency,
    Threads,
    Refusals,
    Breaker,
}

pub(super) const ALL: [Chart; 4] = [Chart::Latency, Chart::Threads, Chart::Refusals, Chart::Breaker];

/// The colour of a route, as CSS writes it.
pub(super) fn colour(route: Route) -> String {
    let RGBColor(r, g, b) = rgb(route);
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn rgb(route: Route) -> RGBColor {
    match route {
        Route::Payments => RGBColor(0x1f, 0x77, 0xb4),
        Route::Orders => RGBColor(0x2c, 0xa0, 0x2c),
        Route::Recommendations => RGBColor(0xd6, 0x27, 0x28),
    }
}

/// What is drawn of one architecture.
struct Plot {
    caption: &'static str,
    range: Range<f64>,
    label: fn(&f64) -> String,
    lines: Vec<(Route, Points)>,
}

impl Chart {
    /// The SVG of one architecture; scales are shared with the others, so that they can be compared by eye.
    pub(super) fn draw(self, run: &Run, all: &[Run]) -> io::Result<String> {
        let plot = self.plot(run, all);
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let drawn = match self {
                Chart::Latency => draw_on(&area, run, &plot, plot.range.clone().log_scale()),
                _ => draw_on(&area, run, &plot, plot.range.clone()),
            };
            drawn.map_err(|e| io::Error::other(e.to_string()))?;
        }
        Ok(svg)
    }

    fn plot(self, run: &Run, all: &[Run]) -> Plot {
        let whole = |y: &f64| if *y < 1.0 && *y > 0.0 { format!("{y}") } else { format!("{y:.0}") };
        match self {
            Chart::Latency => Plot { caption: "p99 latency, ms", range: LATENCY_MS, label: whole, lines: latency(run) },
            Chart::Threads => Plot {
                caption: "threads inside a downstream call",
                range: 0.0..top(all, threads),
                label: whole,
                lines: threads(run),
            },
            Chart::Refusals => Plot {
                caption: "refusals per second",
                range: 0.0..top(all, refusals),
                label: whole,
                lines: refusals(run),
            },
            Chart::Breaker => {
                let states = breaker(run);
                Plot {
                    caption: if states.is_some() { "breaker" } else { "no breaker" },
                    range: -0.2..2.2,
                    label: state_label,
                    lines: states.into_iter().map(|points| (Route::SICK, points)).collect(),
                }
            }
        }
    }
}

fn draw_on<Y>(area: &Area<'_>, run: &Run, plot: &Plot, y: Y) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    area.fill(&WHITE)?;
    let end = run.plan.total().as_secs_f64();
    let mut chart = ChartBuilder::on(area)
        .caption(plot.caption, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(8)
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .y_labels(5)
        .y_label_formatter(&plot.label)
        .draw()?;
    for stretch in &run.plan.stretches {
        if matches!(stretch.phase, Phase::Fault | Phase::Burst) {
            let seconds = |ms: u64| ms as f64 / 1_000.0;
            let corners = [(seconds(stretch.from_ms), plot.range.start), (seconds(stretch.end_ms()), plot.range.end)];
            let shade = RGBColor(200, 80, 80).mix(0.12).filled();
            chart.draw_series([Rectangle::new(corners, shade)])?;
        }
    }
    for (route, points) in &plot.lines {
        let style = rgb(*route).stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
    }
    area.present()?;
    Ok(())
}

/// The mesh asks for labels between the states too.
fn state_label(y: &f64) -> String {
    let states = [Breaker::Closed, Breaker::HalfOpen, Breaker::Open];
    let state = states.into_iter().find(|s| (height(*s) - y).abs() < 0.01);
    state.map_or(String::new(), |s| s.name().into())
}

fn height(state: Breaker) -> f64 {
    match state {
        Breaker::Closed => 0.0,
        Breaker::HalfOpen => 1.0,
        Breaker::Open => 2.0,
    }
}

/// One line for each route, from the slices of the generator.
fn by_slice(run: &Run, value: impl Fn(&SliceFigures) -> Option<f64>) -> Vec<(Route, Points)> {
    let line = |route: Route| {
        let point = |s: &Slice| value(&s.routes[route.index()]).map(|v| (s.from_ms as f64 / 1_000.0, v));
        (route, run.generator.slices.iter().filter_map(point).collect())
    };
    Route::ALL.map(line).into()
}

fn latency(run: &Run) -> Vec<(Route, Points)> {
    by_slice(run, |s| (s.sent > 0).then(|| (s.p99_us as f64 / 1_000.0).max(LATENCY_MS.start)))
}

fn refusals(run: &Run) -> Vec<(Route, Points)> {
    by_slice(run, |s| Some(s.refused as f64 * 1_000.0 / SLICE_MS as f64))
}

fn threads(run: &Run) -> Vec<(Route, Points)> {
    let end = run.plan.total().as_millis() as u64;
    let line = |route: Route| {
        let samples = run.samples.iter().filter(|s| s.at_ms <= end);
        (route, samples.map(|s| (s.at_ms as f64 / 1_000.0, s.stats.route(route).busy as f64)).collect())
    };
    Route::ALL.map(line).into()
}

/// The highest value of any architecture, with some air.
fn top(all: &[Run], lines: impl Fn(&Run) -> Vec<(Route, Points)>) -> f64 {
    let values = all.iter().flat_map(lines).flat_map(|(_, points)| points).map(|(_, y)| y);
    1.1 * values.fold(10.0, f64::max)
}

/// The breaker's states as a line of steps; none where there is no breaker.
fn breaker(run: &Run) -> Option<Points> {
    run.last.route(Route::SICK).breaker?;
    let mut points = vec![(0.0, 0.0)];
    for change in run.log.transitions.iter().filter(|t| t.route == Route::SICK) {
        let at = change.at_us.saturating_sub(run.start_us) as f64 / 1e6;
        let before = points[points.len() - 1].1;
        points.extend([(at, before), (at, height(change.to))]);
    }
    let last = points[points.len() - 1].1;
    points.push((run.plan.total().as_secs_f64(), last));
    Some(points)
}
