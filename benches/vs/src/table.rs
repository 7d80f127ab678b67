//! Rounds, medians, quartiles and ratios.

use crate::kernel;

/// A name, and what measures it once: a number for each figure. NaN where there is none.
pub type Contender<'a> = (&'static str, Box<dyn Fn() -> Vec<f64> + 'a>);

/// What is measured, and how ours is compared: ours is always the first contender.
pub struct Figure {
    pub what: &'static str,
    pub ratio: Ratio,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Ratio {
    /// Theirs by ours.
    TimesAsFast,
    /// Ours by theirs.
    OfIt,
    None,
}

impl Figure {
    pub const fn new(what: &'static str, ratio: Ratio) -> Self {
        Self { what, ratio }
    }
}

/// Whether everything is to run once and briefly.
pub fn is_test() -> bool {
    std::env::args().any(|arg| arg == "--test")
}

/// The first for a measurement, the second for a test.
pub fn effort<T>(full: T, test: T) -> T {
    if is_test() { test } else { full }
}

/// Whether the words among the arguments, if there are any, pick this workload.
pub fn is_picked(title: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| title.contains(&word))
}

/// The value below which the share of them lies. Sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { values[((values.len() - 1) as f64 * share).round() as usize] }
}

/// Median and quartiles.
fn quartiles(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.collect();
    if values.iter().any(|value| value.is_nan()) {
        return format!("{:>8}", "-");
    }
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&mut values, share));
    let digits = if middle.abs() < 1.0 { 3 } else { 2 };
    format!("{middle:8.digits$} ({low:.digits$}..{high:.digits$})")
}

/// Measures all of them `rounds` times and prints them. Each round begins with another contender.
pub fn compare(title: &str, rounds: usize, figures: &[Figure], contenders: &[Contender<'_>]) {
    if !is_picked(title) {
        return;
    }
    let mut measured = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let which = (round + turn) % contenders.len();
            let threads = kernel::threads().len();
            let values = (contenders[which].1)();
            assert_eq!(values.len(), figures.len());
            measured[which].push(values);
            kernel::wait_for_threads_to_end(threads);
        }
    }
    println!("{title}");
    for (f, figure) in figures.iter().enumerate() {
        if figures.len() > 1 {
            println!(" {}", figure.what);
        }
        for ((name, _), rounds) in contenders.iter().zip(&measured) {
            let value = quartiles(rounds.iter().map(|round| round[f]));
            let both = measured[0].iter().zip(rounds).map(|(ours, theirs)| (ours[f], theirs[f]));
            let ratio = match figure.ratio {
                Ratio::TimesAsFast => {
                    format!("   ours is {} times as fast", quartiles(both.map(|(ours, theirs)| theirs / ours)))
                }
                Ratio::OfIt => format!("   ours is {} of it", quartiles(both.map(|(ours, theirs)| ours / theirs))),
                Ratio::None => String::new(),
            };
            let what = if figures.len() > 1 { "" } else { figure.what };
            println!("{}", format!("  {name:26} {value:28} {what}{ratio}").trim_end());
        }
    }
}
