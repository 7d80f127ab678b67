//! The report as text.

use std::io::{self, Write};

use crate::analyse::predicted;
use crate::load::Open;
use crate::sweep::Report;

fn ms(seconds: Option<f64>) -> String {
    seconds.map_or("-".into(), |s| format!("{:.1}", s * 1e3))
}

/// Writes everything but the plot.
pub(crate) fn write(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let (plan, service) = (&report.plan, &report.service);
    writeln!(
        to,
        "\nworkload {}: measured {:.2} ms, p99 {:.2} ms, CV {:.2}, {:.3} ms of them on a CPU",
        plan.workload,
        service.mean_s * 1e3,
        service.p99_s * 1e3,
        service.cv,
        service.cpu_s * 1e3
    )?;
    writeln!(to, "granted: {}\n", report.granted)?;
    writeln!(to, "Saturated: always more to do")?;
    writeln!(
        to,
        "{:>8} {:>9} {:>9} {:>10} {:>10} {:>12}",
        "threads", "jobs/s", "law", "CPUs used", "wanted", "service ms"
    )?;
    for p in &report.saturated {
        let law = report.law.map_or("-".into(), |l| format!("{:.0}", l.law.throughput(p.threads as f64)));
        writeln!(
            to,
            "{:>8} {:>9.0} {:>9} {:>10.2} {:>10.2} {:>12.2}",
            p.threads,
            p.throughput,
            law,
            p.cpus_used,
            p.cpus_wanted,
            p.service.mean_s * 1e3
        )?;
    }
    match report.law {
        Some(l) => writeln!(to, "Universal Scalability Law: {}", l.law)?,
        None => writeln!(to, "Universal Scalability Law: needs at least three thread counts")?,
    }
    writeln!(to, "\n{}\n", report.verdict)?;
    writeln!(
        to,
        "Open loop: {:.0} arrivals/s by chance, latency from the intended arrival, ms; waits next to Erlang-C, jobs \
         inside next to Little's λ·W",
        report.rate
    )?;
    header(to)?;
    report.open.iter().try_for_each(|p| row(p, to))?;
    let late = report.open.iter().filter_map(|p| p.p99_late_s).reduce(f64::max);
    writeln!(to, "{}", lateness(late))?;
    writeln!(to, "\nRecommended: {}", report.advice.shown)?;
    writeln!(to, "\nTried, for {:?}:", plan.trial)?;
    header(to)?;
    row(&report.trial, to)?;
    writeln!(to, "{}", lateness(report.trial.p99_late_s))?;
    let budget = plan.budget.as_secs_f64();
    let kept = report.trial.p99_s.map_or("not known (too few jobs)", |p99| if p99 <= budget { "yes" } else { "no" });
    writeln!(to, "p99 within the budget of {:?}: {kept}", plan.budget)
}

/// Of the generator, which shares the machine with what it measures.
fn lateness(p99: Option<f64>) -> String {
    match p99 {
        Some(_) => {
            format!("(Arrivals were themselves up to {} ms late, p99; that is part of latencies and waits.)", ms(p99))
        }
        None => "(Too few arrivals to say how late they themselves were.)".into(),
    }
}

fn header(to: &mut dyn Write) -> io::Result<()> {
    let heads = [
        "threads", "queue", "done/s", "refused", "p50", "p99", "p99.9", "wait", "Erlang", "wait p99", "Erlang",
        "inside", "λ·W",
    ];
    heads.iter().try_for_each(|h| write!(to, "{h:>9}"))?;
    writeln!(to)
}

fn row(p: &Open, to: &mut dyn Write) -> io::Result<()> {
    let predicted = predicted(p);
    write!(to, "{:>9}{:>9}{:>9.0}{:>8.1}%", p.threads, p.queue, p.throughput, p.refused_share() * 100.0)?;
    let times =
        [p.p50_s, p.p99_s, p.p999_s, p.mean_wait_s, predicted.map(|w| w.0), p.p99_wait_s, predicted.map(|w| w.1)];
    times.into_iter().try_for_each(|t| write!(to, "{:>9}", ms(t)))?;
    for inside in [p.inside, p.little()] {
        write!(to, "{:>9}", inside.map_or("-".into(), |n| format!("{n:.2}")))?;
    }
    writeln!(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::tests::measured;
    use crate::work::Kind;

    #[test]
    fn it_shows_every_point_and_the_arithmetic() {
        let report = measured(Kind::Sleep);
        let mut text = Vec::new();
        write(&report, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for part in [
            "Universal Scalability Law: λ",
            "The limit is",
            "How it is known",
            "λ·S =",
            "Recommended: threads",
            "λ·W",
            "granted: ",
            "Tried",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(!text.contains("NaN"), "{text}");
    }
}
