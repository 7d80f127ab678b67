//! The report: a line for each file as it ends, and the totals when all have. Nobody sees it before it is whole.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::NamedTempFile;

use crate::parse::Outcome;
use crate::tally::Tally;
use crate::walk::UNFINISHED;

/// Takes down what became of each file; writes it if there is where to.
pub(crate) struct Report {
    tally: Tally,
    to: Option<BufWriter<File>>,
}

impl Report {
    pub(crate) fn new(to: Option<&Path>) -> io::Result<Self> {
        let mut to = to.map(File::create).transpose()?.map(BufWriter::new);
        if let Some(to) = &mut to {
            write!(to, "{{\"files\":[")?;
        }
        Ok(Self { tally: Tally::default(), to })
    }

    pub(crate) fn add(&mut self, file: &str, outcome: &Outcome) -> io::Result<()> {
        let first = self.tally.drained() + self.tally.failed() + self.tally.undone() == 0;
        let row = self.tally.add(file, outcome)?;
        match &mut self.to {
            Some(to) => write!(to, "{}\n{row}", if first { "" } else { "," }),
            None => Ok(()),
        }
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// `complete` is whether every file of the folder is in it.
    pub(crate) fn finish(mut self, complete: bool) -> io::Result<Tally> {
        if let Some(mut to) = self.to.take() {
            let rest = json!({ "complete": complete, "all": self.tally.aggregate() }).to_string();
            writeln!(to, "\n],{}", rest.strip_prefix('{').unwrap_or(&rest))?;
            to.into_inner()?.sync_all()?;
        }
        Ok(self.tally)
    }
}

/// Where the report will be: tried before any work is done for it, not after.
#[derive(Debug)]
pub(crate) struct Place {
    at: PathBuf,
    unfinished: NamedTempFile,
}

impl Place {
    pub(crate) fn new(at: &Path) -> io::Result<Self> {
        if at.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let folder = at.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new();
        // Beside the report: a file can be renamed in one step only within its own file system.
        file.prefix(UNFINISHED).suffix(".tmp");
        #[cfg(unix)]
        file.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666)); // less the umask
        Ok(Self { at: at.to_owned(), unfinished: file.tempfile_in(folder)? })
    }

    pub(crate) fn unfinished(&self) -> &Path {
        self.unfinished.path()
    }

    /// From now on it is there.
    pub(crate) fn publish(self) -> io::Result<PathBuf> {
        self.unfinished.persist(&self.at).map_err(|e| e.error)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::fs;

    #[test]
    fn it_is_json_with_none_one_and_two_files_and_is_not_there_before() {
        for files in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("report.json");
            let place = Place::new(&at).unwrap();
            let mut report = Report::new(Some(place.unfinished())).unwrap();
            (0..files).for_each(|n| report.add(&format!("{n}"), &Outcome::Failed("why".into())).unwrap());
            report.finish(true).unwrap();
            assert!(!at.exists());
            let at = place.publish().unwrap();
            let report: Value = serde_json::from_slice(&fs::read(at).unwrap()).unwrap();
            assert_eq!(report["files"].as_array().unwrap().len(), files);
            assert_eq!((&report["complete"], &report["all"]["failed"]), (&json!(true), &json!(files)));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Place::new(folder.path()).is_err());
        assert!(Place::new(&folder.path().join("none/report.json")).is_err());
    }
}
