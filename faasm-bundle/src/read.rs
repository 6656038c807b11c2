//! Reading bundles. Nothing in one is believed before it was checked, and nothing is written but into the directory that is named.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hash::Hashing;
use crate::manifest::{FORMAT, FilePart, MANIFEST, Manifest};
use crate::sign::PublicKey;

/// What a bundle may take of the machine that reads it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many files it may have.
    pub files: usize,
    /// How large they may be together, in bytes.
    pub unpacked: u64,
    /// How many times as large as the bundle they may be, unless they are small.
    pub ratio: u64,
}

impl Default for Limits {
    /// Many times what an image has.
    fn default() -> Self {
        Self { files: 200_000, unpacked: 8 << 30, ratio: 250 }
    }
}

/// The size of a manifest, in bytes.
const MANIFEST_LIMIT: u64 = 32 << 20;

/// Files that are not larger than this together, in bytes, may be compressed as well as they can.
const SMALL: u64 = 64 << 20;

/// The logarithm of how far compressed data may refer back, in bytes: what [`crate::HIGHEST_COMPRESSION`] has.
const WINDOW: u32 = 23;

/// A bundle that is a file.
pub struct Bundle {
    path: PathBuf,
    file: File,
    len: u64,
    /// The SHA-256 of what was signed.
    signed: Option<String>,
}

impl Bundle {
    /// Opens a bundle.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("open", path))?;
        if !metadata.is_file() {
            return Err(Error::damaged(path, "it is no file"));
        }
        Ok(Self { path: path.to_path_buf(), file, len: metadata.len(), signed: None })
    }

    /// Checks that whoever has the private key has signed this bundle. What is unpacked afterwards must be what was signed.
    ///
    /// # Errors
    ///
    /// When the signature is not of this file or by another key, or the file cannot be read.
    pub fn verify(&mut self, signature: &str, key: &PublicKey) -> Result<()> {
        self.file.rewind().map_err(Error::io("read", &self.path))?;
        let mut content = Hashing::new(&self.file);
        key.verify(&mut content, signature)
            .map_err(|reason| Error::Signature { bundle: self.path.display().to_string(), reason })?;
        self.signed = Some(content.finish().0);
        Ok(())
    }

    /// What the bundle says that it has.
    ///
    /// # Errors
    ///
    /// When it is no bundle, or is damaged as far as it was read.
    pub fn manifest(&mut self, limits: &Limits) -> Result<Manifest> {
        self.file.rewind().map_err(Error::io("read", &self.path))?;
        let mut archive = tar::Archive::new(decoder(&self.path, Hashing::new(&self.file))?);
        let mut entries = archive.entries().map_err(|it| self.unreadable(&it))?.raw(true);
        self.read_manifest(&mut entries, limits)
    }

    /// Checks the whole bundle and unpacks it into a directory, which must be there and empty. Files for which `keep` says no are checked
    /// and not written.
    ///
    /// # Errors
    ///
    /// When the bundle is damaged, has anything that its manifest does not name, exceeds the limits, or is not the one that was
    /// [verified](Self::verify); when the directory cannot be written. Then the directory has some of its files, and is to be removed.
    pub fn unpack(
        &mut self,
        into: &Path,
        limits: &Limits,
        keep: &dyn Fn(&Manifest, &FilePart) -> bool,
    ) -> Result<Manifest> {
        self.file.rewind().map_err(Error::io("read", &self.path))?;
        let mut archive = tar::Archive::new(decoder(&self.path, Hashing::new(&self.file))?);
        let mut entries = archive.entries().map_err(|it| self.unreadable(&it))?.raw(true);
        let manifest = self.read_manifest(&mut entries, limits)?;
        let mut writer = Writer { root: into, made: BTreeSet::new() };
        let text = manifest.to_bytes().map_err(|it| self.damaged(it.to_string()))?;
        writer.write(MANIFEST, &mut text.as_slice()).map_err(|it| self.copying(MANIFEST, it))?;
        for part in &manifest.files {
            let entry = entries.next();
            let entry = entry.ok_or_else(|| self.damaged(format!("it ends before {:?}", part.path)))?;
            let entry = entry.map_err(|it| self.unreadable(&it))?;
            self.check_entry(&entry, &part.path, part.len)?;
            let mut content = Hashing::new(entry);
            if keep(&manifest, part) {
                writer.write(&part.path, &mut content)
            } else {
                copy(&mut content, &mut io::sink(), Path::new(&part.path))
            }
            .map_err(|it| self.copying(&part.path, it))?;
            let (sha256, len) = content.finish();
            if len != part.len {
                return Err(self.damaged(format!("it ends in {:?}", part.path)));
            }
            if sha256 != part.sha256 {
                return Err(self.damaged(format!("{:?} is not what its manifest says", part.path)));
            }
        }
        if let Some(entry) = entries.next() {
            entry.map_err(|it| self.unreadable(&it))?;
            return Err(self.damaged("it has files that its manifest does not name"));
        }
        let digest = self.read_end(archive.into_inner())?;
        if self.signed.as_ref().is_some_and(|signed| *signed != digest) {
            return Err(self.damaged("it was changed after its signature was verified"));
        }
        Ok(manifest)
    }

    fn read_manifest<'a, R: Read + 'a>(
        &self,
        entries: &mut tar::Entries<'a, R>,
        limits: &Limits,
    ) -> Result<Manifest> {
        let entry = entries.next().ok_or_else(|| self.damaged("it is empty"))?;
        let entry = entry.map_err(|it| self.unreadable(&it))?;
        let len = entry.header().entry_size().map_err(|it| self.unreadable(&it))?;
        if len > MANIFEST_LIMIT {
            return Err(self.damaged(format!("its manifest has {len} bytes, and may have {MANIFEST_LIMIT}")));
        }
        self.check_entry(&entry, MANIFEST, len)?;
        let mut text = Vec::new();
        entry.take(MANIFEST_LIMIT).read_to_end(&mut text).map_err(|it| self.unreadable(&it))?;

        #[derive(serde::Deserialize)]
        struct Header {
            format: u64,
        }
        // The format comes first, since another one may have any fields.
        let malformed =
            |it: serde_json::Error| self.damaged(format!("its manifest cannot be understood: {it}"));
        let Header { format } = serde_json::from_slice(&text).map_err(malformed)?;
        if format != FORMAT {
            return Err(Error::Format { path: self.path.clone(), found: format });
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(malformed)?;
        manifest.check().map_err(|reason| self.damaged(reason))?;
        if manifest.to_bytes().is_ok_and(|it| it != text) {
            return Err(self.damaged("its manifest is not written as this program writes it"));
        }
        self.check_sizes(&manifest, limits)?;
        Ok(manifest)
    }

    fn check_sizes(&self, manifest: &Manifest, limits: &Limits) -> Result<()> {
        let count = manifest.files.len();
        if count > limits.files {
            return Err(self.damaged(format!("it has {count} files, and may have {}", limits.files)));
        }
        let sum = manifest.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.len));
        let sum = sum.unwrap_or(u64::MAX);
        let allowed = limits.unpacked.min(self.len.saturating_mul(limits.ratio).max(SMALL));
        if sum > allowed {
            let len = self.len;
            return Err(self.damaged(format!("its {len} bytes become {sum}, and may become {allowed}")));
        }
        Ok(())
    }

    /// Entries are files, named and as long as the manifest says. With that there are no links, devices, and directories, nor
    /// extensions of the format, which could say something else than the header does.
    fn check_entry<R: Read>(&self, entry: &tar::Entry<'_, R>, path: &str, len: u64) -> Result<()> {
        let header = entry.header();
        if header.entry_type() != tar::EntryType::Regular {
            let found = entry.path_bytes();
            let found = String::from_utf8_lossy(&found);
            return Err(self.damaged(format!("{found:?} is no ordinary file")));
        }
        if entry.path_bytes() != path.as_bytes() {
            let found = entry.path_bytes();
            let found = String::from_utf8_lossy(&found);
            return Err(self.damaged(format!("it has {found:?} where its manifest has {path:?}")));
        }
        let found = header.entry_size().map_err(|it| self.unreadable(&it))?;
        if found != len {
            return Err(self.damaged(format!("{path:?} has {found} bytes where its manifest says {len}")));
        }
        Ok(())
    }

    /// Reads what is after the last file, which must be nothing, and answers the SHA-256 of the bundle.
    fn read_end(&self, mut decoder: Decoder<'_>) -> Result<String> {
        let mut rest = Vec::new();
        (&mut decoder).take(1024).read_to_end(&mut rest).map_err(|it| self.unreadable(&it))?;
        if rest.iter().any(|&byte| byte != 0) || rest.len() == 1024 {
            return Err(self.damaged("something follows its last file"));
        }
        let mut reader = decoder.finish();
        let after = io::copy(&mut reader, &mut io::sink()).map_err(|it| self.unreadable(&it))?;
        if after > 0 {
            return Err(self.damaged("something follows its end"));
        }
        Ok(reader.into_inner().finish().0)
    }

    fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::damaged(&self.path, reason)
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        self.damaged(error.to_string())
    }

    fn copying(&self, name: &str, error: Copying) -> Error {
        match error {
            Copying::Read(error) => self.damaged(format!("{name:?}: {error}")),
            Copying::Write(error) => error,
        }
    }
}

type Decoder<'a> = zstd::Decoder<'a, BufReader<Hashing<&'a File>>>;

fn decoder<'a>(path: &Path, content: Hashing<&'a File>) -> Result<Decoder<'a>> {
    let begin = || {
        let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(128 << 10, content))?;
        decoder.window_log_max(WINDOW)?;
        Ok(decoder.single_frame())
    };
    begin().map_err(|error: io::Error| Error::damaged(path, error.to_string()))
}

/// Makes files below a directory that nobody else writes to.
struct Writer<'a> {
    root: &'a Path,
    made: BTreeSet<PathBuf>,
}

impl Writer<'_> {
    fn write(&mut self, path: &str, content: &mut impl Read) -> Result<(), Copying> {
        let path = self.root.join(path);
        if let Some(parent) = path.parent()
            && !self.made.contains(parent)
        {
            fs::create_dir_all(parent)
                .map_err(|it| Copying::Write(Error::io("create the directory", parent)(it)))?;
            self.made.insert(parent.to_path_buf());
        }
        let file = File::create_new(&path);
        let mut file = file.map_err(|it| Copying::Write(Error::io("create", &path)(it)))?;
        copy(content, &mut file, &path)
    }
}

/// Which side of a copy failed: a bundle that cannot be read is damaged, a file that cannot be written is not.
enum Copying {
    Read(io::Error),
    Write(Error),
}

fn copy(from: &mut impl Read, to: &mut impl io::Write, path: &Path) -> Result<(), Copying> {
    let mut block = vec![0; 128 << 10];
    loop {
        let count = match from.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Copying::Read)?,
        };
        if count == 0 {
            return Ok(());
        }
        let written = to.write_all(block.get(..count).unwrap_or_default());
        written.map_err(|it| Copying::Write(Error::io("write", path)(it)))?;
    }
}
