//! Where results are put: complete, or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Makes `directory` a copy of an image, unless it is one already. Files are linked where the file system can do that.
pub(crate) fn lay_out(image: &Path, directory: &Path) -> anyhow::Result<()> {
    let copy = || {
        let parent = parent(directory);
        fs::create_dir_all(parent)?;
        // Others that lay out the same image at this moment find it done when they get the lock.
        let lock = File::options().create(true).append(true).open(parent.join(".faasm-lock"))?;
        lock.lock()?;
        let manifest = fs::read(image.join("manifest.json"))?;
        if fs::read(directory.join("manifest.json")).is_ok_and(|it| it == manifest) {
            return Ok(());
        }
        let new = temporary_directory(parent)?;
        link_tree(image, new.path())?;
        // A directory cannot replace one that has files in it, so the old one steps aside.
        let old = temporary_directory(parent)?;
        match fs::rename(directory, old.path().join("old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(new.keep(), directory),
        }
    };
    copy().with_context(|| format!("failed to copy the image {} to {}", image.display(), directory.display()))
}

/// Creates or replaces a file in one step.
pub(crate) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let permissions = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(parent(path))?;
        file.write_all(content)?;
        file.persist(path)?;
        io::Result::Ok(())
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

/// A directory in `parent` that is removed unless it is kept, and is no more private than others.
pub(crate) fn temporary_directory(parent: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o777)).tempdir_in(parent)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            link_tree(&source, &target)?;
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_replaces_another_whole() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a/b/faasm");
        for (name, content) in [("one", "1"), ("two", "2")] {
            let image = directory.path().join(name);
            fs::create_dir_all(image.join("root/lib")).unwrap();
            fs::write(image.join("manifest.json"), content).unwrap();
            fs::write(image.join("root/lib").join(name), content).unwrap();
            lay_out(&image, &target).unwrap();
            lay_out(&image, &target).unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("root/lib/two")).unwrap(), "2");
        assert!(!target.join("root/lib/one").exists());
        let left = fs::read_dir(target.parent().unwrap()).unwrap().count();
        assert_eq!(left, 2, "the image and the lock");
    }
}
