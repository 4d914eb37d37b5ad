//! Files that are there in whole or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::{NamedTempFile, PersistError};

/// A file that will be at `path` once it is [put there](put_in_place), under another name in the same folder until then. Only
/// its owner may read it. Dropping it removes it; a process that is killed leaves it, as `<name>.<letters>.partial`.
///
/// # Errors
/// Those of the file system.
pub fn new_for(path: &Path) -> io::Result<NamedTempFile> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    tempfile::Builder::new().prefix(&name).suffix(".partial").tempfile_in(folder_of(path))
}

/// Makes `file` durable, and the file at `path`: in place of another, or, unless `replace`, only if there is none.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], and those of the file system; `path` is as it was then.
pub fn put_in_place(file: NamedTempFile, path: &Path, replace: bool) -> io::Result<()> {
    file.as_file().sync_all()?;
    let put = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    put.map_err(|PersistError { error, .. }| error)?;
    sync_folder(folder_of(path))
}

/// Makes the names of the files in a folder durable.
///
/// # Errors
/// Those of the file system.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
