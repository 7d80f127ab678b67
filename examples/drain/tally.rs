//! What all files say together, and whether two ways of reading them came to the same.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::parse::{Outcome, Summary};

/// How many of the biggest files are named, and how many of those that failed are (the report has all).
const NAMED: usize = 10;

/// Of any number of files, in a room that does not grow with it.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    drained: u64,
    failed: u64,
    undone: u64,
    total: Summary,
    biggest: Vec<Big>,
    failures: Vec<Failure>,
    digest: [u64; 2],
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
struct Big {
    bytes: u64,
    file: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) file: String,
    pub(crate) why: String,
}

/// A file's line in the report.
#[derive(Serialize)]
struct Row<'a> {
    file: &'a str,
    #[serde(flatten)]
    summary: Option<&'a Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone: Option<&'a str>,
}

impl Tally {
    /// Takes in what became of a file, and gives its line for the report.
    pub(crate) fn add(&mut self, file: &str, outcome: &Outcome) -> serde_json::Result<String> {
        let mut row = Row { file, summary: None, failed: None, undone: None };
        match outcome {
            Outcome::Drained(summary) => {
                self.drained += 1;
                self.total.add_all(summary);
                self.keep_biggest(summary.bytes, file);
                row.summary = Some(summary);
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                self.failures
                    .extend((self.failures.len() < NAMED).then(|| Failure { file: file.to_owned(), why: why.clone() }));
                row.failed = Some(why);
            }
            Outcome::Undone(why) => {
                self.undone += 1;
                row.undone = Some(why);
            }
        }
        let row = serde_json::to_string(&row)?;
        self.digest_in(&row);
        Ok(row)
    }

    /// Files end in another order each time, and what is the same in every order is a sum.
    fn digest_in(&mut self, row: &str) {
        for (salt, sum) in self.digest.iter_mut().enumerate() {
            let mut hasher = DefaultHasher::new(); // with keys that are always the same
            (salt, row).hash(&mut hasher);
            *sum = sum.wrapping_add(hasher.finish());
        }
    }

    fn keep_biggest(&mut self, bytes: u64, file: &str) {
        if self.biggest.len() < NAMED || self.biggest.last().is_some_and(|least| least.bytes <= bytes) {
            self.biggest.push(Big { bytes, file: file.to_owned() });
            self.biggest.sort_by(|a, b| b.cmp(a));
            self.biggest.truncate(NAMED);
        }
    }

    pub(crate) fn drained(&self) -> u64 {
        self.drained
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn undone(&self) -> u64 {
        self.undone
    }

    pub(crate) fn total(&self) -> &Summary {
        &self.total
    }

    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// What ways must agree on: the totals, and a digest of every file's own line.
    pub(crate) fn aggregate(&self) -> Value {
        let [a, b] = self.digest;
        json!({
            "files": self.drained,
            "failed": self.failed,
            "undone": self.undone,
            "total": self.total,
            "biggest": self.biggest,
            "digest_of_files": format!("{a:016x}{b:016x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(bytes: u64) -> Outcome {
        Outcome::Drained(Summary { bytes, lines: 1, ..Summary::default() })
    }

    #[test]
    fn the_order_does_not_matter_and_every_file_does() {
        let files: Vec<_> = (0..30).map(|n| (format!("{n}.log"), drained(n % 4))).collect();
        let tally = |files: &mut dyn Iterator<Item = &(String, Outcome)>| {
            let mut tally = Tally::default();
            files.for_each(|(file, outcome)| drop(tally.add(file, outcome).unwrap()));
            tally.aggregate()
        };
        let there = tally(&mut files.iter());
        assert_eq!(there, tally(&mut files.iter().rev()));
        assert_ne!(there, tally(&mut files.iter().skip(1)));
        let mut swapped = files.clone();
        (swapped[0].1, swapped[1].1) = (swapped[1].1.clone(), swapped[0].1.clone());
        assert_eq!(there["total"], tally(&mut swapped.iter())["total"]);
        assert_ne!(there, tally(&mut swapped.iter()), "the totals are the same, the files are not");
    }

    #[test]
    fn what_failed_is_counted_in_nothing_else() {
        let mut tally = Tally::default();
        tally.add("good", &drained(5)).unwrap();
        let row = tally.add("bad", &Outcome::Failed("why".into())).unwrap();
        assert_eq!(row, r#"{"file":"bad","failed":"why"}"#);
        assert_eq!((tally.drained(), tally.failed(), tally.total().lines), (1, 1, 1));
    }
}
