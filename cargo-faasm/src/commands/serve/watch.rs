//! A directory whose files are uploaded when they change.
//!
//! It is looked at several times a second. Systems can say by themselves that a file has changed, but not on every file system, and
//! the directories that people work in are small.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use anyhow::Context as _;
use py_func::server::Uploader;

use crate::error::{self, input};
use crate::shell::{self, Shell};
use crate::units::show_size;

/// How often the directory is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// What tells one state of a file from another.
type State = (SystemTime, u64);

/// Uploads the Python files of a directory, and has a thread do so again with those that change, as long as the process runs.
pub(super) fn start(shell: Shell, directory: &Path, user: &str, uploader: Uploader) -> anyhow::Result<()> {
    let context = || input(format!("failed to read the directory `{}`", directory.display()));
    let mut known = files(directory).with_context(context)?;
    for path in known.keys() {
        upload(shell, path, user, &uploader);
    }
    let (directory, user) = (directory.to_path_buf(), user.to_owned());
    let watch = move || {
        loop {
            thread::sleep(PAUSE);
            // A directory that is being replaced is back soon.
            let Ok(now) = files(&directory) else { continue };
            for (path, state) in &now {
                if known.get(path) != Some(state) {
                    upload(shell, path, &user, &uploader);
                }
            }
            known = now;
        }
    };
    thread::Builder::new().name("faasm-watch".to_owned()).spawn(watch).context("failed to start a thread")?;
    Ok(())
}

fn files(directory: &Path) -> io::Result<BTreeMap<PathBuf, State>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() != Some(OsStr::new("py")) {
            continue;
        }
        // Editors replace files; one that is gone for a moment is new afterwards.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_file() {
            files.insert(path, (metadata.modified()?, metadata.len()));
        }
    }
    Ok(files)
}

/// Uploads a file, or says why not.
fn upload(shell: Shell, path: &Path, user: &str, uploader: &Uploader) {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let uploaded = fs::read(path)
        .with_context(|| input(format!("failed to read `{}`", path.display())))
        .and_then(|source| Ok(uploader.upload(user, &name, &source)?));
    match uploaded {
        Ok(stored) => shell.status("Uploaded", format_args!("{user}/{name} ({})", show_size(stored.bytes))),
        Err(error) => {
            if let Some(failure) = error::failed_call(&error) {
                shell::raw_stderr(&failure.stdout);
                shell::raw_stderr(&failure.stderr);
            }
            error::report(&shell, &error);
        }
    }
}
