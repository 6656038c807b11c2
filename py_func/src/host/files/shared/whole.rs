//! Shared files as a whole, for those who are no guest: read, replaced and removed by path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::fs::OpenOptions;

use super::{Errno, FileType, Options, SharedFile, SharedFiles, UserFiles, or_top};
use crate::function::is_valid_name;

/// What files in the making begin with.
const NEW: &str = ".faasm-new-";

impl SharedFiles {
    /// Those of one user, if there ever were some. Asking for users who do not exist leaves nothing.
    pub(crate) fn of_existing(&self, user: &str) -> Option<UserFiles> {
        self.directory.join(user).is_dir().then(|| self.of(user))
    }

    /// Removes what writers left that were killed before a point in time. What cannot be read or removed stays.
    pub(crate) fn remove_leftovers(&self, before: SystemTime) {
        let before = before.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_nanos() as u64);
        for user in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let user = user.file_name().into_string().ok().filter(|name| is_valid_name(name));
            if let Some(files) = user.and_then(|user| self.of_existing(&user)) {
                files.remove_leftovers(before);
            }
        }
    }
}

impl UserFiles {
    /// Opens a file for reading; `None` if it is a directory.
    pub(crate) fn open_to_read(&self, path: &Path) -> Result<Option<SharedFile>, Errno> {
        self.open(path, Options::default())
    }

    /// Gives a file a content, in one step and for good; the quota has to have room for what was there, too. The directories that it is in
    /// are made.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> Result<(), Errno> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let mut made = Vec::new();
        for directory in ancestors(parent) {
            match self.stat(directory) {
                Ok(stat) if stat.kind == FileType::Directory => (),
                Ok(_) => return Err(Errno::NOTDIR),
                Err(Errno::NOENT) => match self.create_directory(directory) {
                    Ok(()) => made.push(directory.parent().unwrap_or(Path::new(""))),
                    // Somebody else has made it meanwhile.
                    Err(Errno::EXIST) => (),
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        if self.stat(path).is_ok_and(|stat| stat.kind == FileType::Directory) {
            return Err(Errno::ISDIR);
        }
        let new = parent.join(format!("{NEW}{:016x}", getrandom::u64().map_err(|_| Errno::IO)?));
        let written = self.write_new(&new, content).and_then(|()| self.rename(&new, path));
        if written.is_err() {
            // What went wrong first says more.
            let _ = self.unlink(&new);
        }
        written?;
        made.into_iter().chain([parent]).try_for_each(|directory| self.sync_directory(directory))
    }

    /// Removes a file, or a directory in which there is nothing.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Errno> {
        match self.stat(path)?.kind {
            FileType::Directory => self.remove_directory(path)?,
            _ => self.unlink(path)?,
        }
        self.sync_directory(path.parent().unwrap_or(Path::new("")))
    }

    fn remove_leftovers(&self, before: u64) {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for (name, stat) in self.list(&folder).into_iter().flatten() {
                let path = folder.join(OsStr::from_bytes(&name));
                match stat.kind {
                    FileType::Directory => folders.push(path),
                    FileType::RegularFile if stat.modified < before && is_new(&name) => {
                        // Somebody may have done so.
                        let _ = self.unlink(&path);
                    }
                    _ => (),
                }
            }
        }
    }

    fn write_new(&self, path: &Path, content: &[u8]) -> Result<(), Errno> {
        let options = Options { write: true, create: true, exclusive: true, ..Options::default() };
        let file = self.open(path, options)?.ok_or(Errno::ISDIR)?;
        let mut rest = content;
        while !rest.is_empty() {
            let (written, _) = file.write(None, rest)?;
            rest = rest.get(written..).filter(|_| written > 0).ok_or(Errno::IO)?;
        }
        file.sync(false)
    }

    fn sync_directory(&self, path: &Path) -> Result<(), Errno> {
        let directory = self.top()?.open_with(or_top(path), OpenOptions::new().read(true))?;
        Ok(directory.sync_all()?)
    }
}

impl SharedFile {
    pub(crate) fn size(&self) -> Result<u64, Errno> {
        Ok(self.stat()?.size)
    }
}

/// Whether a file in the making has such a name.
fn is_new(name: &[u8]) -> bool {
    let digits = name.strip_prefix(NEW.as_bytes());
    digits.is_some_and(|it| it.len() == 16 && it.iter().all(u8::is_ascii_hexdigit))
}

/// A path and the paths it begins with, the shortest first.
fn ancestors(path: &Path) -> Vec<&Path> {
    let mut all: Vec<&Path> = path.ancestors().filter(|it| *it != PathBuf::new()).collect();
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let shared = SharedFiles::new(directory.path().to_path_buf(), 64 << 10);
        assert!(shared.of_existing("user").is_none());
        let files = shared.of("user");
        let path = Path::new("a/b/file");
        let content = || std::fs::read(directory.path().join("user").join(path)).unwrap();
        files.replace(path, b"one").unwrap();
        files.replace(path, b"two").unwrap();
        assert_eq!(content(), b"two");
        assert_eq!(files.replace(Path::new("a/b"), b""), Err(Errno::ISDIR));
        assert_eq!(files.replace(Path::new("a/b/file/c"), b""), Err(Errno::NOTDIR));
        assert_eq!(files.replace(path, &[0; 100_000]), Err(Errno::DQUOT));
        assert_eq!(content(), b"two", "what does not fit leaves what there is");
        assert_eq!(files.list(Path::new("a/b")).unwrap().count(), 1, "and nothing else");
        // What is replaced gives its place back.
        for _ in 0..20 {
            files.replace(path, &[0; 10_000]).unwrap();
        }
        assert_eq!(files.remove(Path::new("a")), Err(Errno::NOTEMPTY));
        for (path, result) in
            [("a/b/file", Ok(())), ("a/b/file", Err(Errno::NOENT)), ("a/b", Ok(())), ("a", Ok(()))]
        {
            assert_eq!(files.remove(Path::new(path)), result, "{path}");
        }
    }

    #[test]
    fn what_killed_writers_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("user/folder");
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink("..", folder.join("link")).unwrap();
        let left = [".faasm-new-0123456789abcdef", ".faasm-new-x", ".faasm-new-0123456789abcdefg", "file"];
        for name in left {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let names = || {
            let entries = std::fs::read_dir(&folder).unwrap();
            let mut names: Vec<_> =
                entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let before = names();
        let shared = SharedFiles::new(directory.path().to_path_buf(), 64 << 10);
        shared.remove_leftovers(UNIX_EPOCH);
        assert_eq!(names(), before, "what was written since is somebody's");
        shared.remove_leftovers(SystemTime::now() + std::time::Duration::from_secs(1));
        assert_eq!(names(), [".faasm-new-0123456789abcdefg", ".faasm-new-x", "file", "link"]);
    }

    #[test]
    fn links_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "secret").unwrap();
        std::fs::create_dir(directory.path().join("user")).unwrap();
        for (link, target) in [("file", "../secret"), ("directory", "..")] {
            std::os::unix::fs::symlink(target, directory.path().join("user").join(link)).unwrap();
        }
        let shared = SharedFiles::new(directory.path().to_path_buf(), 64 << 10);
        let files = shared.of("user");
        for path in ["file", "directory", "directory/secret"] {
            assert!(files.open_to_read(Path::new(path)).is_err(), "{path}");
        }
        assert!(files.replace(Path::new("directory/secret"), b"").is_err());
        assert!(files.remove(Path::new("directory/secret")).is_err());
        assert_eq!(std::fs::read(directory.path().join("secret")).unwrap(), b"secret");
    }
}
