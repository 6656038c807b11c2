//! Functions that are packages: folders, and archives of them, unpacked into memory.
//!
//! The function's module is `main.py`, or else the package that `__init__.py` makes, at the top or in the only folder there. Guests
//! see the files as `/function`, where sibling modules are imported from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host::{TOP, Volume};

/// The most files and bytes that a package may have.
const MOST_FILES: usize = 10_000;
const MOST_BYTES: u64 = 256 << 20;

/// The most that the members of a tar archive may have for headers, besides what their files have.
const MOST_HEADERS: u64 = 64 << 20;

/// The longest path in a package and the longest name in it, in bytes.
const LONGEST_PATH: usize = 1024;
const LONGEST_NAME: usize = 255;

/// A package, unpacked.
pub(crate) struct Package {
    pub(crate) files: Arc<Volume>,
    /// The name of the module to import.
    pub(crate) module: String,
}

/// Why a package cannot be used. Every message continues "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A folder could not be read.
    #[error("read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// An archive is damaged or uses what is not supported.
    #[error("read the archive: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },

    /// Something in it cannot be part of a package.
    #[error("unpack {member}: {reason}")]
    Member {
        /// Its path.
        member: String,
        /// Why.
        reason: &'static str,
    },

    /// There is too much in it.
    #[error("unpack the package: it has more than {MOST_FILES} files or {} MiB", MOST_BYTES >> 20)]
    TooLarge,

    /// It is not clear which module is meant.
    #[error(
        "find the module of the package: there is no `main.py` and no `__init__.py` in {}",
        if folder.is_empty() { "it" } else { folder }
    )]
    NoModule {
        /// Where it was looked for.
        folder: String,
    },
}

impl PackageError {
    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoModule { .. } => Some(
                "put the entry point into `main.py` at the top of the folder or archive, or in its only folder".to_owned(),
            ),
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, PackageError>;

/// The paths of files, with `/` between names, and their contents.
type Files = BTreeMap<String, Vec<u8>>;

/// Makes an archive of a folder, the same one whenever the files are the same. Names that begin with a dot, and `__pycache__`, are left
/// out.
///
/// # Errors
///
/// When something cannot be read, is neither a file nor a folder, or is more than a package may have.
pub fn pack(folder: &Path) -> Result<Vec<u8>> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| PackageError::Io { path, source }
    };
    let mut unpacked = Unpacked::default();
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed(&entry.path()))?);
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if is_ignored(&name) {
                continue;
            }
            if kind.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if kind.is_file() {
                let file = fs::File::open(&path).map_err(failed(&path))?;
                unpacked.add(entry.file_name().to_str().map(|_| name.as_str()), &name, file)?;
            } else {
                return Err(refused(&name, "it is neither a file nor a folder"));
            }
        }
    }
    // An archive of a folder has that as its only one, so that its name becomes the package's.
    let top = folder.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let top = top.map_or_else(String::new, |top| format!("{top}/"));
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, content) in &unpacked.files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{top}{path}"), content.as_slice()).map_err(damaged)?;
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(damaged)
}

/// Whether what was given as a function's source is an archive, and which one, as the ending of its name. No source can be
/// mistaken for one: they have bytes that Python does not allow.
pub(crate) fn archive_kind(source: &[u8]) -> Option<&'static str> {
    if source.starts_with(b"PK\x03\x04") {
        Some("zip")
    } else if source.starts_with(b"\x1f\x8b") {
        Some("tar.gz")
    } else if source.get(257..262) == Some(b"ustar") && source[..257].contains(&0) {
        Some("tar")
    } else {
        None
    }
}

/// Unpacks an archive. The function's name becomes that of a package which has none of its own.
pub(crate) fn open(archive: &[u8], function: &str) -> Result<Package> {
    let mut unpacked = Unpacked::default();
    match archive_kind(archive) {
        Some("zip") => unpacked.add_zip(archive)?,
        Some("tar.gz") => unpacked.add_tar(flate2::read::MultiGzDecoder::new(archive))?,
        _ => unpacked.add_tar(archive)?,
    }
    let Layout { strip, prefix, module } = layout(&unpacked.files, function)?;
    let mut volume = Volume::new(u64::MAX);
    for (path, content) in unpacked.files {
        if let Some(path) = path.strip_prefix(&strip) {
            place(&mut volume, &format!("{prefix}{path}"), content)?;
        }
    }
    Ok(Package { files: Arc::new(volume), module })
}

/// The files of a folder or archive, as they are read.
#[derive(Default)]
struct Unpacked {
    files: Files,
    members: usize,
    bytes: u64,
}

impl Unpacked {
    fn add_zip(&mut self, archive: &[u8]) -> Result<()> {
        let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(damaged)?;
        for number in 0..zip.len() {
            let member = zip.by_index(number).map_err(damaged)?;
            let name = member.name().map_err(damaged)?.into_owned();
            if member.is_dir() {
                self.count()?;
            } else if member.is_symlink() {
                return Err(refused(&name, "it is a link"));
            } else {
                self.add(Some(&name), &name, member)?;
            }
        }
        Ok(())
    }

    fn add_tar(&mut self, archive: impl Read) -> Result<()> {
        let mut archive = tar::Archive::new(archive.take(MOST_BYTES + MOST_HEADERS));
        for member in archive.entries().map_err(damaged)? {
            let member = member.map_err(damaged)?;
            let path = member.path_bytes().into_owned();
            let shown = String::from_utf8_lossy(&path).into_owned();
            match member.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    self.add(std::str::from_utf8(&path).ok(), &shown, member)?;
                }
                // The latter is what `git archive` begins with.
                tar::EntryType::Directory | tar::EntryType::XGlobalHeader => self.count()?,
                _ => return Err(refused(&shown, "it is neither a file nor a folder")),
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<()> {
        self.members += 1;
        if self.members > MOST_FILES { Err(PackageError::TooLarge) } else { Ok(()) }
    }

    /// Takes a file in. Its path is `None` if it is not UTF-8, and shown otherwise in any case.
    fn add(&mut self, path: Option<&str>, shown: &str, content: impl Read) -> Result<()> {
        self.count()?;
        let path = path.ok_or_else(|| refused(shown, "its name is not UTF-8"))?;
        let path = clean(path).map_err(|reason| refused(shown, reason))?;
        if is_ignored(&path) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let room = MOST_BYTES - self.bytes;
        let read = content.take(room + 1).read_to_end(&mut bytes);
        read.map_err(|error| PackageError::Archive { reason: format!("{shown}: {error}") })?;
        if bytes.len() as u64 > room {
            return Err(PackageError::TooLarge);
        }
        self.bytes += bytes.len() as u64;
        if self.files.insert(path, bytes).is_some() {
            return Err(refused(shown, "it is there twice"));
        }
        Ok(())
    }
}

/// A path without names that mean nothing, or why it is none that stays within its package.
fn clean(path: &str) -> std::result::Result<String, &'static str> {
    if path.starts_with('/') {
        return Err("its path is absolute");
    }
    if path.contains(['\\', '\0']) {
        return Err("its name has a backslash or a NUL");
    }
    let names: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if names.contains(&"..") {
        return Err("its path leads out of the package");
    }
    if names.is_empty() || path.len() > LONGEST_PATH || names.iter().any(|name| name.len() > LONGEST_NAME) {
        return Err("its path is empty or too long");
    }
    Ok(names.join("/"))
}

/// What is no part of a package: hidden files, byte code, and what archives of macOS have besides.
fn is_ignored(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.') || matches!(name, "__pycache__" | "__MACOSX"))
}

/// Where the files of an archive go.
struct Layout {
    /// What paths begin with that are part of it, and what they begin with instead.
    strip: String,
    prefix: String,
    module: String,
}

fn layout(files: &Files, function: &str) -> Result<Layout> {
    let (mut parent, mut folder, mut top) = (String::new(), "", String::new());
    loop {
        if files.contains_key(&format!("{top}main.py")) {
            return Ok(Layout { strip: top, prefix: String::new(), module: "main".to_owned() });
        }
        if files.contains_key(&format!("{top}__init__.py")) {
            if is_identifier(folder) {
                return Ok(Layout { strip: parent, prefix: String::new(), module: folder.to_owned() });
            }
            let module: String =
                function.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let module = if is_identifier(&module) { module } else { format!("_{module}") };
            return Ok(Layout { strip: top, prefix: format!("{module}/"), module });
        }
        // The only folder, apart from what wheels have besides.
        let mut folders = BTreeSet::new();
        let mut sources = 0;
        for path in files.keys().filter_map(|path| path.strip_prefix(&top)) {
            match path.split_once('/') {
                Some((folder, _)) if folder.ends_with(".dist-info") => (),
                Some((folder, _)) => drop(folders.insert(folder)),
                None => sources += usize::from(path.ends_with(".py")),
            }
        }
        let mut folders = folders.into_iter();
        match (folders.next(), folders.next()) {
            (Some(only), None) if sources == 0 => {
                folder = only;
                parent = top.clone();
                top = format!("{top}{only}/");
            }
            _ => return Err(PackageError::NoModule { folder: top }),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn place(volume: &mut Volume, path: &str, content: Vec<u8>) -> Result<()> {
    let conflict = |_| refused(path, "a file and a folder have the same name");
    let (folders, name) = path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
    let mut directory = TOP;
    for folder in folders.into_iter().flat_map(|folders| folders.split('/')) {
        let there = volume.lookup(directory, folder.as_bytes()).map_err(conflict)?;
        directory = match there {
            Some(inode) => inode,
            None => volume.create_directory(directory, folder.as_bytes()).map_err(conflict)?,
        };
    }
    volume.create_file(directory, name.as_bytes(), content).map(drop).map_err(conflict)
}

fn damaged(error: impl ToString) -> PackageError {
    PackageError::Archive { reason: error.to_string() }
}

fn refused(member: &str, reason: &'static str) -> PackageError {
    PackageError::Member { member: member.to_owned(), reason }
}

#[cfg(test)]
mod tests;
