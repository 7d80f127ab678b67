//! The report: one HTML file that needs nothing else, with the time lines of the architectures side by side.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::figures::Figure;
use crate::plan::Route;
use crate::story::Run;
use crate::table::written;
use crate::verdict::{Kind, Verdict};

mod charts;

const FILE: &str = "gateway-report.html";

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1700px; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.grid { display: grid; gap: .75rem; grid-template-columns: repeat(var(--runs), minmax(300px, 1fr)); overflow-x: auto }
.grid h3 { font-size: 1rem; margin: 0 } .grid svg { width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child, .words td, .words th { text-align: left }
.verdict { font-weight: 600; padding: .6rem 1rem; border-left: 6px solid; margin: 1rem 0 }
.pass { color: #1a7f37 } .fail { color: #c62828 } .inconclusive { color: #9a6700 }
.key { display: inline-block; width: 1.4em; height: .25em; margin: 0 .4em 0 1.2em; vertical-align: middle }
";

/// Writes the report where it is wanted, or into the current folder, or, where that cannot be written to, into the
/// system's temporary one. Returns where it is.
pub(crate) fn write(wanted: Option<&Path>, runs: &[Run], figures: &[Figure], verdict: &Verdict) -> io::Result<PathBuf> {
    let html = html(runs, figures, verdict)?;
    if let Some(path) = wanted {
        fs::write(path, html).map_err(|e| named(path, &e))?;
        return Ok(path.to_owned());
    }
    let here = std::env::current_dir().unwrap_or_default().join(FILE);
    if fs::write(&here, &html).is_ok() {
        return Ok(here);
    }
    let elsewhere = std::env::temp_dir().join(FILE);
    fs::write(&elsewhere, html)?;
    Ok(elsewhere)
}

/// Whether a report could be written there.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().append(true).create(true).open(path).map(drop).map_err(|e| named(path, &e))
}

fn named(path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("cannot write {}: {e}", path.display()))
}

fn html(runs: &[Run], figures: &[Figure], verdict: &Verdict) -> io::Result<String> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>watertight: the gateway story</title>\n\
         <style>{STYLE}</style>\n<h1>A service with a sick dependency</h1>\n"
    );
    let class = match verdict.exit_code() {
        0 => "pass",
        1 => "fail",
        _ => "inconclusive",
    };
    let _ = writeln!(page, "<p class=\"verdict {class}\">{}</p>", escaped(&verdict.sentence()));
    write_legend(&mut page, runs);
    let _ = writeln!(page, "<div class=\"grid\" style=\"--runs: {}\">", runs.len());
    for run in runs {
        let _ = writeln!(page, "<h3>({}) {}</h3>", run.arch.letter(), escaped(run.arch.title()));
    }
    for chart in charts::ALL {
        for run in runs {
            page.push_str(&chart.draw(run, runs)?);
            page.push('\n');
        }
    }
    page.push_str("</div>\n");
    write_lines(&mut page, verdict);
    write_figures(&mut page, runs, figures);
    page.push_str("</html>\n");
    Ok(page)
}

fn write_legend(page: &mut String, runs: &[Run]) {
    let scale = runs.first().map_or(1.0, |r| r.plan.scale);
    let _ = write!(
        page,
        "<p>{:.0} requests per second in an open loop, measured from the moment each was meant to be sent; the same \
         arrivals in every window. Shaded: recommendations takes 5 s, then (narrow) answers 500.<br>",
        crate::plan::RATE * scale
    );
    for route in Route::ALL {
        let colour = charts::colour(route);
        let _ = write!(page, "<span class=\"key\" style=\"background: {colour}\"></span>{}", route.name());
    }
    page.push_str("</p>\n");
}

fn write_lines(page: &mut String, verdict: &Verdict) {
    page.push_str("<h2>Pass lines of (d)</h2>\n<table class=\"words\">\n");
    page.push_str("<tr><th>line</th><th>pass line</th><th>measured</th><th>kind</th><th></th></tr>\n");
    for line in &verdict.lines {
        let (class, word) = if line.holds { ("pass", "pass") } else { ("fail", "FAIL") };
        let kind = match (line.kind, verdict.decides(line.kind)) {
            (Kind::Structural, _) => "structural",
            (Kind::Timed, true) => "timed",
            (Kind::Timed, false) => "timed, not deciding",
        };
        let (what, limit, measured) = (escaped(&line.what), escaped(&line.limit), escaped(&line.measured));
        let _ = writeln!(
            page,
            "<tr><td>{what}</td><td>{limit}</td><td>{measured}</td><td>{kind}</td><td class=\"{class}\">{word}</td></tr>"
        );
    }
    page.push_str("</table>\n");
}

fn write_figures(page: &mut String, runs: &[Run], figures: &[Figure]) {
    page.push_str(
        "<h2>Figures: what the arithmetic predicts, and what was measured</h2>\n<table>\n<tr><th>figure</th>",
    );
    for run in runs {
        let letter = run.arch.letter();
        let _ = write!(page, "<th>({letter}) predicted</th><th>({letter}) measured</th>");
    }
    page.push_str("</tr>\n");
    for figure in figures {
        let _ = write!(page, "<tr><td>{}</td>", escaped(figure.what));
        for run in runs {
            let cell = figure.cells[run.arch as usize];
            let (predicted, measured) = (written(cell.predicted, figure.unit), written(cell.measured, figure.unit));
            let _ = write!(page, "<td>{predicted}</td><td>{measured}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
