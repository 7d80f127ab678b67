//! The story as a person sees it while it runs: a small live screen on a terminal, plain lines anywhere else.

use std::io::{self, IsTerminal, Stdout, Write};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Position};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Gauge, Row, Table};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use crate::plan::{Arch, Phase, Plan, Route};
use crate::process::Process;
use crate::recorder::Progress;
use crate::server::stats::{Breaker, Stats};
use crate::story::Place;

/// What there is to see at a moment.
pub(crate) struct Now<'a> {
    pub(crate) arch: Arch,
    pub(crate) place: Place,
    pub(crate) plan: &'a Plan,
    pub(crate) at_ms: u64,
    pub(crate) left: Duration,
    pub(crate) progress: &'a Progress,
    pub(crate) stats: &'a Stats,
    pub(crate) process: Process,
}

impl Now<'_> {
    fn title(&self) -> String {
        format!("({}) {}", self.arch.letter(), self.arch.title())
    }

    /// A count of the last half second, by second.
    fn per_second(&self, count: u64) -> u64 {
        (count as f64 * 1_000.0 / self.progress.over_ms.max(1) as f64).round() as u64
    }

    fn answered(&self) -> u64 {
        self.per_second(self.progress.routes.iter().map(|r| r.answered).sum())
    }
}

/// Somebody who looks on.
pub(crate) trait View {
    fn show(&mut self, now: &Now<'_>);

    /// Called once, before the results are printed.
    fn close(&mut self) {}
}

/// The live screen where there is a terminal that can show it; otherwise lines, on standard error when standard output
/// is for a program.
pub(crate) fn view(json: bool, plain: bool) -> Box<dyn View> {
    if json {
        return Box::new(Lines::new(Box::new(io::stderr())));
    }
    if !plain && io::stdout().is_terminal() {
        if let Ok(screen) = Screen::new() {
            return Box::new(screen);
        }
    }
    Box::new(Lines::new(Box::new(io::stdout())))
}

/// Plain lines: one when a phase begins, and one every two seconds.
struct Lines {
    to: Box<dyn Write>,
    last: Option<(Arch, Phase, u64)>,
}

impl Lines {
    fn new(to: Box<dyn Write>) -> Self {
        Self { to, last: None }
    }
}

impl View for Lines {
    fn show(&mut self, now: &Now<'_>) {
        let phase = now.plan.at(now.at_ms).phase;
        let this = (now.arch, phase, now.at_ms / 2_000);
        if self.last == Some(this) {
            return;
        }
        let new_arch = self.last.is_none_or(|(arch, _, _)| arch != now.arch);
        self.last = Some(this);
        let mut line = String::new();
        if new_arch {
            line += &format!("{} of {}: {}\n", now.place.number, now.place.of, now.title());
        }
        line += &format!(
            "  {:>5.1} s  {:<8} {:>5} answers/s  busy {:>4}  open {:>5}  threads {:>4}  p99 ms",
            now.at_ms as f64 / 1_000.0,
            phase.name(),
            now.answered(),
            now.stats.busy(),
            now.stats.open(),
            now.process.threads,
        );
        for route in Route::ALL {
            let p99 = now.progress.routes[route.index()].p99_us as f64 / 1_000.0;
            line += &format!(" {} {p99:.0}", route.name());
        }
        if let Some(breaker) = now.stats.route(Route::SICK).breaker {
            line += &format!("  breaker {}", breaker.name());
        }
        line += &format!("  {} s left", now.left.as_secs());
        // A reader that went away does not stop the run: its exit code still counts.
        let _ = writeln!(self.to, "{line}");
    }
}

const HEIGHT: u16 = 9;

/// A few lines at the cursor, drawn over and over. No raw mode: Ctrl-C keeps its meaning.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn new() -> io::Result<Self> {
        let options = TerminalOptions { viewport: Viewport::Inline(HEIGHT) };
        Ok(Self { terminal: Terminal::with_options(CrosstermBackend::new(io::stdout()), options)? })
    }
}

impl View for Screen {
    fn show(&mut self, now: &Now<'_>) {
        // A terminal that was closed does not stop the run.
        let _ = self.terminal.draw(|frame| draw(frame, now));
    }

    fn close(&mut self) {
        let _ = self.terminal.clear();
        let _ = self.terminal.show_cursor();
    }
}

fn draw(frame: &mut Frame<'_>, now: &Now<'_>) {
    let area = frame.area();
    let [title, phase, gauge, table, totals] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Length(1),
    ])
    .areas(area);
    let stretch = now.plan.at(now.at_ms);
    let heading = format!("watertight gateway   {} of {}   {}", now.place.number, now.place.of, now.title());
    frame.render_widget(Line::from(heading).bold(), title);
    let sick = matches!(stretch.phase, Phase::Fault | Phase::Burst);
    let colour = if sick { Color::Red } else { Color::Green };
    let text = format!("{}: {}", stretch.phase.name(), now.plan.explained(stretch.phase));
    frame.render_widget(Line::from(text).fg(colour), phase);

    let total = now.plan.total().as_millis() as f64;
    let bar = Gauge::default()
        .ratio((now.at_ms as f64 / total).clamp(0.0, 1.0))
        .label(format!("{} s left", now.left.as_secs()))
        .gauge_style(Style::default().fg(colour));
    frame.render_widget(bar, gauge);
    frame.render_widget(routes(now), table);
    let text = format!(
        "{} answers/s   {} requests inside   {} waiting for a thread   {} threads   {:.0} MB",
        now.answered(),
        now.stats.open(),
        now.stats.queued(),
        now.process.threads,
        now.process.rss_kb as f64 / 1_024.0,
    );
    frame.render_widget(Line::from(text), totals);
    // A visible cursor, left where the screen ends, is what an interrupted run leaves behind.
    frame.set_cursor_position(Position::new(area.x, area.bottom().saturating_sub(1)));
}

fn routes<'a>(now: &Now<'_>) -> Table<'a> {
    let head = ["route", "ok/s", "refused/s", "failed/s", "p99 ms", "threads busy", "waiting", "breaker"];
    let rows = Route::ALL.map(|route| {
        let (progress, stats) = (now.progress.routes[route.index()], now.stats.route(route));
        let busy = match now.arch {
            Arch::D => format!("{} of {}", stats.busy, route.compartment().threads),
            _ => stats.busy.to_string(),
        };
        let breaker = stats.breaker.map_or(Cell::from("none"), |breaker| {
            let colour = if breaker == Breaker::Closed { Color::Green } else { Color::Red };
            Cell::from(breaker.name()).style(Style::default().fg(colour))
        });
        Row::new([
            Cell::from(route.name()),
            Cell::from(now.per_second(progress.ok).to_string()),
            Cell::from(now.per_second(progress.refused).to_string()),
            Cell::from(now.per_second(progress.failed).to_string()),
            Cell::from(format!("{:.0}", progress.p99_us as f64 / 1_000.0)),
            Cell::from(busy),
            Cell::from(stats.queued.to_string()),
            breaker,
        ])
    });
    let widths = [16, 8, 10, 9, 9, 13, 8, 10].map(Constraint::Length);
    Table::new(rows, widths).header(Row::new(head).style(Style::default().add_modifier(Modifier::UNDERLINED)))
}
