//! Copying, linking and replacing trees.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Copies what is in the directory `from` into the directory `to`, over what is there. Links are copied as links.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    copy_tree_except(from, to, &[])
}

/// Like [`copy_tree`], without files and directories, at any depth, that have one of the names `except`.
pub(crate) fn copy_tree_except(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    transfer_tree(from, to, except, &|from, to| fs::copy(from, to).map(drop).map_err(Error::io("copy", from)))
}

/// Like [`copy_tree_except`] with hard links where the file system allows them. For files that are never changed in place.
pub(crate) fn link_tree_except(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    transfer_tree(from, to, except, &link_or_copy)
}

/// Makes `to` the same file as `from` if they are on one file system, else a copy.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    // As with a link, the time stays the same.
    let copy = || -> io::Result<()> {
        fs::copy(from, to)?;
        File::options().append(true).open(to)?.set_modified(fs::metadata(from)?.modified()?)
    };
    copy().map_err(Error::io("copy", from))
}

/// Has `fill` make the content of a new directory and puts that in the place of `directory`. When `fill` fails, `directory` is as
/// it was.
pub(crate) fn replace_directory(directory: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = directory.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .map_err(Error::io("create a directory in", parent))?;
    fill(new.path())?;
    // A directory cannot replace one that has files in it, so the old one first steps aside.
    let old = tempfile::Builder::new()
        .prefix(".old-")
        .tempdir_in(parent)
        .map_err(Error::io("create a directory in", parent))?;
    match fs::rename(directory, old.path().join("directory")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("replace", directory)(error)),
        _ => fs::rename(new.keep(), directory).map_err(Error::io("replace", directory)),
    }
}

/// Writes a file under another name and then gives it this one, so that it is never there in part.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
        file.write_all(content)?;
        // A temporary file is for its owner alone; this one need not be.
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::io("write", path))
}

/// The paths of what is in a directory, sorted.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let read =
        || fs::read_dir(directory)?.map(|it| it.map(|it| it.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = read().map_err(Error::io("read the directory", directory))?;
    paths.sort();
    Ok(paths)
}

/// The files below a directory with their relative paths, sorted, without byte code.
pub(crate) fn read_tree(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    fn visit(root: &Path, directory: &Path, files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        for path in entries(directory)? {
            if path.ends_with("__pycache__") {
                continue;
            }
            if path.is_dir() {
                visit(root, &path, files)?;
            } else {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.push((name, fs::read(&path).map_err(Error::io("read", &path))?));
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    visit(root, root, &mut files)?;
    files.sort();
    Ok(files)
}

fn transfer_tree(
    from: &Path,
    to: &Path,
    except: &[&str],
    transfer: &dyn Fn(&Path, &Path) -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create the directory", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read the directory", from))? {
        let entry = entry.map_err(Error::io("read the directory", from))?;
        let name = entry.file_name();
        if except.iter().any(|it| name == *it) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        let kind = entry.file_type().map_err(Error::io("read", &source))?;
        if kind.is_dir() {
            transfer_tree(&source, &target, except, transfer)?;
        } else if kind.is_symlink() {
            let place = fs::read_link(&source).map_err(Error::io("read the link", &source))?;
            std::os::unix::fs::symlink(place, &target).map_err(Error::io("create the link", &target))?;
        } else {
            transfer(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_copied_over_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        for (path, text) in [
            ("from/a/b", "new"),
            ("from/a/skip/c", "no"),
            ("from/skip", "no"),
            ("to/a/b", "old"),
            ("to/a/d", "kept"),
        ] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("b", from.join("a/link")).unwrap();
        copy_tree_except(&from, &to, &["skip"]).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/link")).unwrap(), "new");
        assert_eq!(fs::read_to_string(to.join("a/d")).unwrap(), "kept");
        assert!(!to.join("a/skip").exists() && !to.join("skip").exists());
    }
}
