//! The files of a folder and all folders below it, one at a time: what has been found is not collected, so a folder of
//! millions costs no more memory than one of ten.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

/// Of reports that are being written. One of them is no log file, wherever it is.
pub(crate) const UNFINISHED: &str = ".drain-report-";

/// A file to be drained.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Below the folder, as the report names it.
    pub(crate) name: Arc<str>,
}

/// Something the walk could not look into.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) name: Arc<str>,
    pub(crate) why: String,
}

/// Regular files only, but for `report` and those that will become one: a link may lead out of the folder or round in a
/// circle, and a pipe would be waited for.
pub(crate) fn files(folder: &Path, report: Option<&Path>) -> impl Iterator<Item = Result<Found, Closed>> + use<> {
    let (folder, report) = (folder.to_owned(), report.and_then(same_file_name));
    WalkDir::new(&folder).into_iter().filter_map(move |entry| match entry {
        Ok(entry) => is_wanted(&entry, report.as_deref()).then(|| {
            let name = name(&folder, entry.path());
            Ok(Found { path: entry.into_path(), name })
        }),
        Err(e) => {
            let name = name(&folder, e.path().unwrap_or(&folder));
            let why = e.io_error().map_or_else(|| e.to_string(), ToString::to_string);
            Some(Err(Closed { name, why }))
        }
    })
}

fn is_wanted(entry: &DirEntry, report: Option<&Path>) -> bool {
    let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
    let is_report = || {
        let same_name = report.is_some_and(|report| report.file_name() == Some(entry.file_name()));
        same_name && same_file_name(entry.path()).as_deref() == report
    };
    entry.file_type().is_file() && !unfinished && !is_report()
}

/// The path by which a file is known that need not be there yet.
fn same_file_name(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

fn name(folder: &Path, path: &Path) -> Arc<str> {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn finds_regular_files_at_every_depth_and_no_report() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        for name in ["1.log", "a/2.log", "a/b/3.log", "report.json", "a/report.json", ".drain-report-x"] {
            fs::write(at(name), "x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("a"), at("a/b/round")).unwrap();
        let mut names: Vec<_> =
            files(folder.path(), Some(&at("a/../report.json"))).map(|found| found.unwrap().name.to_string()).collect();
        names.sort();
        assert_eq!(names, ["1.log", "a/2.log", "a/b/3.log", "a/report.json"]);
    }

    #[test]
    fn a_folder_that_is_gone_is_told_of() {
        let found: Vec<_> = files(Path::new("/no/such/folder"), None).collect();
        assert!(matches!(&found[..], [Err(closed)] if closed.why.contains("No such file")), "{found:?}");
    }
}
