//! The report as one SVG: throughput with the fitted law, latency, waits next to Erlang-C's, refusals, each against the
//! threads.

use std::error::Error;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::analyse::predicted;
use crate::load::Open;
use crate::sweep::Report;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const SIZE: (u32, u32) = (720, 1_200);

/// One line: its name, whether it is drawn with dots, its points.
struct Line {
    name: String,
    dots: bool,
    points: Vec<(f64, f64)>,
}

/// The drawing as text.
pub(crate) fn svg(report: &Report) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let parts = area.split_evenly((4, 1));
        let knee = report.verdict.knee;
        let (limit, advice) = (report.verdict.limit, &report.advice);
        let size = format!("{} threads, queue {}", advice.threads, advice.queue);
        let caption = format!("jobs a second when saturated (limit: {limit}; knee: {knee}; recommended: {size})");
        let throughput = throughput(report);
        chart(&parts[0], report, &caption, &throughput, 0.0..top(&throughput, 1.0))?;
        let latency = latency(report);
        let caption = format!("latency in ms at {:.0} arrivals/s, longest queue", report.rate);
        chart(&parts[1], report, &caption, &latency, (0.1..top(&latency, 1.0)).log_scale())?;
        let waits = waits(report);
        chart(&parts[2], report, "mean wait in ms, longest queue", &waits, (0.01..top(&waits, 1.0)).log_scale())?;
        let refusals = refusals(report);
        chart(&parts[3], report, "refused, %, by queue", &refusals, 0.0..top(&refusals, 5.0))?;
        area.present()?;
    }
    Ok(svg)
}

fn top(lines: &[Line], least: f64) -> f64 {
    1.1 * lines.iter().flat_map(|l| &l.points).map(|p| p.1).fold(least, f64::max)
}

fn threads(report: &Report) -> std::ops::Range<f64> {
    let most = report.plan.threads.iter().copied().max().unwrap_or(1).max(2);
    1.0..most as f64
}

fn throughput(report: &Report) -> Vec<Line> {
    let measured = report.saturated.iter().map(|p| (p.threads as f64, p.throughput)).collect();
    let mut lines = vec![Line { name: "measured".into(), dots: true, points: measured }];
    if let Some(law) = report.law {
        let across = threads(report);
        let n = |i: i32| across.start + (across.end - across.start) * f64::from(i) / 100.0;
        let points = (0..=100).map(|i| (n(i), law.law.throughput(n(i)))).collect();
        lines.push(Line { name: "Universal Scalability Law".into(), dots: false, points });
    }
    let (knee, best) = (report.verdict.knee as f64, report.verdict.best);
    lines.push(Line { name: "knee".into(), dots: false, points: vec![(knee, 0.0), (knee, best)] });
    lines
}

/// Of each number of threads the point with the longest queue.
fn longest(report: &Report) -> Vec<&Open> {
    let of = |threads| report.open.iter().filter(move |p| p.threads == threads).max_by_key(|p| p.queue);
    report.plan.threads.iter().filter_map(|n| of(*n)).collect()
}

/// In milliseconds, and not below what a logarithmic axis begins with.
fn times(name: &str, points: &[&Open], least: f64, time: impl Fn(&Open) -> Option<f64>) -> Line {
    let at = |p: &&Open| time(p).map(|s| (p.threads as f64, (s * 1e3).max(least)));
    Line { name: name.into(), dots: true, points: points.iter().filter_map(at).collect() }
}

fn latency(report: &Report) -> Vec<Line> {
    let points = longest(report);
    let of = |name, time: fn(&Open) -> Option<f64>| times(name, &points, 0.1, time);
    vec![of("p50", |p| p.p50_s), of("p99", |p| p.p99_s), of("p99.9", |p| p.p999_s)]
}

/// Where Erlang-C says nothing, there is no point.
fn waits(report: &Report) -> Vec<Line> {
    let points = longest(report);
    let of = |name, time: fn(&Open) -> Option<f64>| times(name, &points, 0.01, time);
    vec![of("measured", |p| p.mean_wait_s), of("Erlang-C", |p| predicted(p).map(|(mean, _)| mean))]
}

/// By the queue's rank among those of its threads: the queues grow with the threads.
fn refusals(report: &Report) -> Vec<Line> {
    let names = ["none", "short", "longer", "longest"];
    let rank = |threads: usize, rank: usize| report.open.iter().filter(|p| p.threads == threads).nth(rank);
    let line = |(i, name): (usize, &&str)| {
        let at = |n: &usize| rank(*n, i).map(|p| (p.threads as f64, p.refused_share() * 100.0));
        Line { name: (*name).into(), dots: true, points: report.plan.threads.iter().filter_map(at).collect() }
    };
    names.iter().enumerate().map(line).collect()
}

fn chart<Y>(area: &Area<'_>, report: &Report, caption: &str, lines: &[Line], y: Y) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(34)
        .y_label_area_size(60)
        .build_cartesian_2d(threads(report), y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("threads")
        .x_label_formatter(&|n| format!("{}", (n * 10.0).round() / 10.0))
        .draw()?;
    for (i, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        let key = move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2));
        drawn.label(&line.name).legend(key);
        if line.dots {
            chart.draw_series(line.points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
        }
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::tests::measured;
    use crate::work::Kind;

    #[test]
    fn it_draws_four_charts_without_nonsense() {
        let report = measured(Kind::Sleep);
        let svg = svg(&report).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for part in ["Universal Scalability Law", "knee", "recommended", "p99.9", "Erlang-C", "refused"] {
            assert!(svg.contains(part), "no {part}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
