//! What is printed at the end.

use serde_json::Value;

use crate::args::Way;
use crate::child::Done;
use crate::parent::Ended;

const COLUMNS: [&str; 8] = ["way", "threads", "in hand", "files/s", "MB/s", "lines/s", "peak memory", "drain time"];

pub(crate) fn print(ways: &[(Way, Ended)]) {
    let mut rows = vec![COLUMNS.map(String::from)];
    let mut notes = Vec::new();
    for (way, ended) in ways {
        match ended {
            Ended::Done(done) => {
                rows.push(row(*way, done));
                notes.extend(done.refused.iter().map(|why| format!("{}: the system refused: {why}", way.name())));
            }
            Ended::Failed(why) => {
                let mut row = COLUMNS.map(|_| String::from("-"));
                row[0] = way.name().into();
                rows.push(row);
                notes.push(format!("{}: {why}", way.name()));
            }
        }
    }
    let widths: Vec<_> =
        (0..COLUMNS.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    println!();
    for row in rows {
        let cell = |(at, text): (usize, &String)| match at {
            0 => format!("{text:<width$}", width = widths[at]),
            _ => format!("{text:>width$}", width = widths[at]),
        };
        println!("{}", row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  "));
    }
    notes.iter().for_each(|note| println!("{note}"));
}

fn row(way: Way, done: &Done) -> [String; 8] {
    let per_second = |n: f64| n / done.seconds.max(1e-9);
    [
        way.name().into(),
        done.most_threads.to_string(),
        done.most_in_hand.to_string(),
        grouped(per_second((done.drained + done.failed) as f64)),
        format!("{:.1}", per_second(done.text_bytes as f64) / 1e6),
        grouped(per_second(done.lines as f64)),
        done.peak_kb.map_or("not known".into(), |kb| format!("{:.1} MB", kb as f64 * 1024.0 / 1e6)),
        format!("{:.2} s", done.seconds),
    ]
}

/// 1,234,567
fn grouped(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What was found, and what could not be read.
pub(crate) fn print_findings(done: &Done, in_report: bool) {
    let all = &done.aggregate;
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    println!(
        "\n{} files, {} lines, of them {} malformed",
        all["files"], all["total"]["lines"], all["total"]["malformed"]
    );
    if let Some(levels) = all["total"]["levels"].as_object() {
        let levels: Vec<_> = levels.iter().map(|(level, lines)| format!("{level} {lines}")).collect();
        if !levels.is_empty() {
            println!("levels: {}", levels.join(", "));
        }
    }
    if all["total"]["first"].is_string() {
        println!("from {} to {}", text(&all["total"]["first"]), text(&all["total"]["last"]));
    }
    if let Some([biggest, ..]) = all["biggest"].as_array().map(Vec::as_slice) {
        println!("the biggest is {} with {} bytes", text(&biggest["file"]), biggest["bytes"]);
    }
    if done.failed > 0 {
        println!("{} could not be read:", done.failed);
        done.failures.iter().for_each(|failure| println!("    {}: {}", failure.file, failure.why));
        let more = done.failed - done.failures.len() as u64;
        match (more, in_report) {
            (0, _) => {}
            (_, true) => println!("    and {more} more: they are in the report"),
            (_, false) => println!("    and {more} more: --out FILE has them all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_kept_apart() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
