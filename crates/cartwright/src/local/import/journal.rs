//! What an import has done so far, on disk beside its file, so that it goes on from there whenever it was ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use indicatif::HumanCount;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::reader::Position;
use crate::local::shop::AnyError;

/// What an import has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// That this is one.
    format: Tag,
    /// The BLAKE3 digest of the file.
    pub digest: String,
    /// What the keys of the batches are made of, together with their places.
    pub seed: String,
    /// Where the first batch begins that is not known to be in the shop.
    pub at: Position,
    /// What became of the purchases before it.
    pub counts: Counts,
    /// The shop's id of the last purchase it accepted.
    pub last_accepted: Option<String>,
    /// Where the refused lines are.
    pub report: PathBuf,
    /// How much of that belongs to what is done.
    pub report_bytes: u64,
    /// Whether all is done.
    pub finished: bool,
    /// When what is done was done: the batch behind it was not sent before.
    pub saved_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Tag {
    #[serde(rename = "cartwright.import-progress")]
    Progress,
}

/// How many purchases were read, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many were accepted.
    pub accepted: u64,
    /// How many were refused.
    pub refused: u64,
}

impl Counts {
    /// How many there were.
    pub fn read(&self) -> u64 {
        self.accepted + self.refused
    }
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(digest: String, seed: String, at: Position) -> Self {
        Progress {
            format: Tag::Progress,
            digest,
            seed,
            at,
            counts: Counts::default(),
            last_accepted: None,
            report: PathBuf::new(),
            report_bytes: 0,
            finished: false,
            saved_at: Timestamp::MAX,
        }
    }

    /// What was kept under `path`; nothing when nothing is there.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn load(path: &Path) -> Result<Option<Progress>, AnyError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
        };
        let strange = |_| format!("{} does not tell of an import; move it out of the way", path.display());
        Ok(serde_json::from_slice(&text).map(Some).map_err(strange)?)
    }

    /// Puts it under `path`, in whole or not at all, and returns when it is on disk.
    ///
    /// # Errors
    /// It cannot be written there.
    pub fn save(&self, path: &Path) -> Result<(), AnyError> {
        let new = with_suffix(path, ".new");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(serde_json::to_string(self)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            sync_folder(path)
        };
        let failed = |error: io::Error| {
            format!(
                "cannot note the progress in {}: {error}; make room, or copy the file to a folder you may write to",
                path.display()
            )
        };
        Ok(write().map_err(failed)?)
    }
}

/// Makes a new name in the folder of `path` last.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// `path` with something added to its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What is to be done with a file, after what was done before.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Import it from its beginning.
    Begin,
    /// Import what is left of it.
    GoOn(Progress),
    /// Nothing: it is imported.
    Nothing(Progress),
}

/// Decides what is to be done with the file called `name`, which has this `digest`. `past` is what was noted of it, and
/// `is_known` whether the shop has the last purchase it accepted then.
///
/// # Errors
/// Nothing should be done before the user has said more.
pub fn plan(past: Option<Progress>, digest: &str, is_known: bool, restart: bool, name: &str) -> Result<Plan, String> {
    let Some(past) = past else { return Ok(Plan::Begin) };
    let (is_same, accepted) = (past.digest == digest, HumanCount(past.counts.accepted));
    let line = HumanCount(past.at.lines + 1);
    match restart {
        true if is_same && is_known && !past.finished => Err(format!(
            "the import of {name} was interrupted before line {line}: go on without --restart, or delete {name}.progress \
             first to import all of it again"
        )),
        true => Ok(Plan::Begin),
        false if !is_same => Err(format!(
            "{name} has changed since {accepted} purchases of it were imported; put it back as it was, or import all that \
             it is now with --restart"
        )),
        false if !is_known => Err(format!(
            "this shop does not have the last purchase that it accepted of {name}, says {name}.progress: it is another \
             shop, or one restored from a backup, or the purchase was deleted; import all of {name} into this shop with \
             --restart"
        )),
        false if past.finished => Ok(Plan::Nothing(past)),
        false => Ok(Plan::GoOn(past)),
    }
}

/// Keeps what became of each batch.
pub struct Journal {
    /// What is done so far.
    pub state: Progress,
    /// Where that is kept; nowhere for a pipe.
    path: Option<PathBuf>,
    report: Report,
}

/// What became of some lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many there were.
    pub counts: Counts,
    /// The shop's id of the last one it accepted.
    pub last_accepted: Option<String>,
    /// The refused ones, as the report has them.
    pub refused: String,
}

impl Journal {
    /// Of a pipe, whose refused lines go to `report` or to standard error. It lasts as long as the process.
    ///
    /// # Errors
    /// There is a report that must not be replaced.
    pub fn of_pipe(state: Progress, report: Option<PathBuf>, replace: bool) -> Result<Self, AnyError> {
        let report = report.map_or(Ok(Report::Terminal), |path| Report::begin(path, replace))?;
        Ok(Journal { state, path: None, report })
    }

    /// Of a file that is imported from its beginning.
    ///
    /// # Errors
    /// There is a report that must not be replaced, or the progress cannot be noted.
    pub fn begin(
        file: &Path,
        state: Progress,
        report: PathBuf,
        replace: bool,
        now: Timestamp,
    ) -> Result<Self, AnyError> {
        let state = Progress { report: report.clone(), saved_at: now, ..state };
        let journal = Journal { state, path: Some(progress_file(file)), report: Report::begin(report, replace)? };
        journal.save()?;
        Ok(journal)
    }

    /// Of a file whose import goes on. When the rest of the refused lines goes elsewhere, what there is of them stays.
    ///
    /// # Errors
    /// The report is not as it was left, or there is another.
    pub fn go_on(file: &Path, state: Progress, report: PathBuf) -> Result<Self, AnyError> {
        let open = if state.report == report {
            Report::resume(report.clone(), state.report_bytes)?
        } else {
            Report::begin(report.clone(), false)?
        };
        let state = Progress { report, report_bytes: open.bytes(), ..state };
        let journal = Journal { state, path: Some(progress_file(file)), report: open };
        journal.save()?;
        Ok(journal)
    }

    /// Notes what became of all lines before `at`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn settle(&mut self, settled: &Settled, at: Position, now: Timestamp) -> Result<(), AnyError> {
        if !settled.refused.is_empty() {
            self.report.add(&settled.refused)?;
        }
        let state = &mut self.state;
        state.at = at;
        state.counts.accepted += settled.counts.accepted;
        state.counts.refused += settled.counts.refused;
        state.report_bytes = self.report.bytes();
        if settled.last_accepted.is_some() {
            state.last_accepted.clone_from(&settled.last_accepted);
        }
        state.saved_at = now;
        self.save()
    }

    /// Notes that all is done.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(&mut self, now: Timestamp) -> Result<(), AnyError> {
        (self.state.finished, self.state.saved_at) = (true, now);
        self.save()
    }

    fn save(&self) -> Result<(), AnyError> {
        self.path.as_ref().map_or(Ok(()), |path| self.state.save(path))
    }

    /// The file with the refused lines, if there are any.
    pub fn report(&self) -> Option<&Path> {
        match &self.report {
            Report::File { path, bytes: 1.. } => Some(path),
            Report::File { .. } | Report::Terminal => None,
        }
    }
}

/// Where the progress of importing `file` is kept.
pub fn progress_file(file: &Path) -> PathBuf {
    with_suffix(file, ".progress")
}

/// Where refused lines go: a file, which is made when the first comes, or standard error.
enum Report {
    /// Standard error.
    Terminal,
    /// A file, of which this much is written.
    File {
        /// Its name.
        path: PathBuf,
        /// What is written of it.
        bytes: u64,
    },
}

impl Report {
    /// A report that begins, in the place of one that is there only if that may be replaced.
    ///
    /// # Errors
    /// There is a file that must not be replaced.
    fn begin(path: PathBuf, replace: bool) -> Result<Self, AnyError> {
        if replace {
            remove(&path)?;
        } else if path.exists() {
            let advice = "move it away, or name another with --refused";
            return Err(format!("{} is there already, and may have been mended; {advice}", path.display()).into());
        }
        Ok(Report::File { path, bytes: 0 })
    }

    /// A report that goes on after its first `bytes`: what is behind them will be written again.
    ///
    /// # Errors
    /// Less than that is there.
    fn resume(path: PathBuf, bytes: u64) -> Result<Self, AnyError> {
        if bytes == 0 {
            remove(&path)?;
            return Ok(Report::File { path, bytes });
        }
        let advice = "put it back as it was, or name another with --refused";
        let changed = || format!("{} is not as the import left it; {advice}", path.display());
        let file = OpenOptions::new().write(true).open(&path).map_err(|_| changed())?;
        if file.metadata()?.len() < bytes {
            return Err(changed().into());
        }
        file.set_len(bytes)?;
        Ok(Report::File { path, bytes })
    }

    /// Adds lines, and returns when they are on disk.
    ///
    /// # Errors
    /// They cannot be written.
    fn add(&mut self, lines: &str) -> Result<(), AnyError> {
        match self {
            Report::Terminal => io::stderr().write_all(lines.as_bytes())?,
            Report::File { path, bytes } => {
                let write = || {
                    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
                    file.seek(SeekFrom::Start(*bytes))?;
                    file.write_all(lines.as_bytes())?;
                    file.sync_all()?;
                    if *bytes == 0 { sync_folder(path) } else { Ok(()) }
                };
                let failed = |error: io::Error| format!("cannot write refused lines to {}: {error}", path.display());
                write().map_err(failed)?;
                *bytes += lines.len() as u64;
            }
        }
        Ok(())
    }

    /// How much is written.
    fn bytes(&self) -> u64 {
        match self {
            Report::Terminal => 0,
            Report::File { bytes, .. } => *bytes,
        }
    }
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> Result<(), AnyError> {
    let removed = match path.metadata() {
        Ok(metadata) if metadata.is_file() => fs::remove_file(path),
        Ok(_) => Err(io::Error::other("it is no file")),
        Err(_) => Ok(()),
    };
    Ok(removed.map_err(|error| format!("cannot replace {}: {error}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(accepted: u64, finished: bool) -> Progress {
        let counts = Counts { accepted, refused: 0 };
        Progress { counts, finished, ..Progress::new("d".into(), "s".into(), Position { bytes: 9, lines: 4 }) }
    }

    #[test]
    fn what_was_done_before_decides_what_is_done() {
        let decide = |past: Option<Progress>, digest, is_known, restart| plan(past, digest, is_known, restart, "p.csv");
        assert_eq!(decide(None, "d", true, false), Ok(Plan::Begin));
        assert_eq!(decide(Some(past(3, false)), "d", true, false), Ok(Plan::GoOn(past(3, false))));
        assert_eq!(decide(Some(past(3, true)), "d", true, false), Ok(Plan::Nothing(past(3, true))));
        for (past, digest, is_known) in [
            (None, "d", true),
            (Some(past(3, true)), "d", true),
            (Some(past(3, false)), "other", true),
            (Some(past(3, false)), "d", false),
        ] {
            assert_eq!(decide(past, digest, is_known, true), Ok(Plan::Begin), "wished for");
        }
        for (finished, digest, is_known, restart, why) in [
            (false, "other", true, false, "has changed since 3 purchases"),
            (true, "other", true, false, "has changed since 3 purchases"),
            (true, "d", false, false, "this shop does not have the last purchase"),
            (false, "d", false, false, "this shop does not have the last purchase"),
            (false, "d", true, true, "interrupted before line 5: go on without --restart"),
        ] {
            let refused = decide(Some(past(3, finished)), digest, is_known, restart).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn progress_is_found_as_it_was_saved_and_nothing_else_is_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv.progress");
        assert_eq!(Progress::load(&path).unwrap(), None);
        past(1, false).save(&path).unwrap();
        past(2, true).save(&path).unwrap();
        assert_eq!(Progress::load(&path).unwrap(), Some(past(2, true)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        for other in ["", "{}", "{\"format\":\"cartwright.export\"}"] {
            fs::write(&path, other).unwrap();
            assert!(Progress::load(&path).unwrap_err().to_string().ends_with("move it out of the way"));
        }
        let nowhere = folder.path().join("gone/p.csv.progress");
        assert!(past(1, false).save(&nowhere).unwrap_err().to_string().contains("cannot note the progress in"));
    }

    #[test]
    fn a_report_goes_on_where_it_counted_and_replaces_nothing_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refused.ndjson");
        let mut report = Report::begin(path.clone(), false).unwrap();
        assert!(!path.exists(), "it is made when there is something to tell");
        report.add("one\n").unwrap();
        report.add("two\n").unwrap();
        assert_eq!(report.bytes(), 8);
        let mut report = Report::resume(path.clone(), 4).unwrap();
        report.add("zwei\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nzwei\n");
        assert!(
            Report::resume(path.clone(), 99)
                .is_err_and(|error| error.to_string().contains("is not as the import left it"))
        );
        assert!(Report::begin(path.clone(), false).is_err_and(|error| error.to_string().contains("is there already")));
        assert!(path.exists());
        assert!(Report::begin(path.clone(), true).is_ok());
        assert!(!path.exists());
        assert!(
            Report::begin(folder.path().to_owned(), true)
                .is_err_and(|error| error.to_string().contains("it is no file"))
        );
    }
}
