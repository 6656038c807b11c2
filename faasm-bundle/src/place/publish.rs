//! Publishing bundles, so that a name always stands for one whole bundle, and for the same one.
//!
//! In an object store a bundle is first uploaded, in parts, under a name made of its hash, which may be done by several at a time and
//! again after it was cut off; then it is read back and compared; then the store copies it to its name, which fails if that is taken.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use object_store::multipart::PartId;
use object_store::path::Path as Key;
use object_store::{Error as StoreError, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::remote::{self, Remote, failed};
use super::{Location, OnBytes};
use crate::error::{Error, Result};
use crate::hash;
use crate::sign::SIGNATURE_EXTENSION;
use crate::write::Written;

/// The size of a part, in bytes. Stores want at least 5 MiB, and parts of the same size.
const PART: u64 = 8 << 20;

/// Where bundles are until they are published, below the place where they are published.
const STAGING: &str = ".uploads";

/// How publishing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where the bundle is.
    pub location: Location,
    /// Whether it was there before, the same.
    pub was_there: bool,
}

/// Publishes a bundle below a place, under its own name, with its signature if it has one.
///
/// # Errors
///
/// When another bundle has that name and `overwrite` is not given, or the place cannot be written. An upload that was cut off is gone on
/// with by the next attempt to publish the same bundle.
pub fn publish(
    bundle: &Written,
    signature: Option<&str>,
    place: &Location,
    overwrite: bool,
    on_bytes: OnBytes<'_>,
) -> Result<Publication> {
    let name = bundle.manifest.file_name();
    let location = place.join(&name);
    let was_there = match (place, &location) {
        (Location::Path(directory), Location::Path(path)) => {
            publish_here(bundle, signature, directory, path, overwrite)?
        }
        (_, Location::Url(url)) => {
            let remote = remote::open(url)?;
            remote::block_on(Upload::new(bundle, remote, overwrite, on_bytes).run(signature))?
        }
        _ => false,
    };
    Ok(Publication { location, was_there })
}

fn publish_here(
    bundle: &Written,
    signature: Option<&str>,
    directory: &Path,
    path: &Path,
    overwrite: bool,
) -> Result<bool> {
    fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
    let is_same = || Ok::<_, Error>(hash::file(path)?.0 == bundle.sha256);
    let mut was_there = path.exists() && is_same()?;
    if !was_there {
        let mut file = temporary(directory).map_err(Error::io("write", path))?;
        let copy = |file: &mut File| {
            io::copy(&mut File::open(&bundle.path)?, file)?;
            file.sync_all()
        };
        copy(file.as_file_mut()).map_err(Error::io("write", path))?;
        let (found, _) = hash::file(file.path())?;
        if found != bundle.sha256 {
            let location = path.display().to_string();
            return Err(Error::Digest { location, expected: bundle.sha256.clone(), found });
        }
        if overwrite {
            file.persist(path).map_err(|it| Error::io("write", path)(it.error))?;
        } else if let Err(error) = file.persist_noclobber(path) {
            if error.error.kind() != io::ErrorKind::AlreadyExists {
                return Err(Error::io("write", path)(error.error));
            }
            if !is_same()? {
                return Err(Error::Published { location: path.display().to_string() });
            }
            was_there = true;
        }
    }
    if let Some(signature) = signature {
        let mut path = path.as_os_str().to_owned();
        path.push(SIGNATURE_EXTENSION);
        let path = PathBuf::from(path);
        if overwrite || !was_there || !path.exists() {
            let write = || {
                let mut file = temporary(directory)?;
                file.write_all(signature.as_bytes())?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|it| it.error)
            };
            write().map_err(Error::io("write", &path))?;
        }
    }
    Ok(was_there)
}

fn temporary(directory: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(directory)
}

/// What is known of an upload that has begun. Beside the bundle, with the same name and `.upload`.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Where to, and of what.
    location: String,
    sha256: String,
    /// The store's name for the upload.
    id: String,
    /// The store's names for the parts that it has.
    parts: Vec<String>,
}

struct Upload<'a> {
    bundle: &'a Written,
    remote: Remote,
    staging: Key,
    record: PathBuf,
    overwrite: bool,
    on_bytes: OnBytes<'a>,
}

impl<'a> Upload<'a> {
    fn new(bundle: &'a Written, remote: Remote, overwrite: bool, on_bytes: OnBytes<'a>) -> Self {
        let mut parts: Vec<_> = remote.path.parts().collect();
        parts.pop();
        parts.extend([STAGING.into(), bundle.sha256.as_str().into()]);
        let mut record = bundle.path.as_os_str().to_owned();
        record.push(".upload");
        let staging = Key::from_iter(parts);
        Self { bundle, remote, staging, record: record.into(), overwrite, on_bytes }
    }

    /// Answers whether the bundle was there before.
    async fn run(&self, signature: Option<&str>) -> Result<bool> {
        let mut was_there = self.is_there().await?;
        if !was_there {
            match self.transfer().await {
                Ok(there) => was_there = there,
                // Whoever publishes the same at this moment may have finished, and removed what both had uploaded.
                Err(error) => match self.is_there().await {
                    Ok(true) => was_there = true,
                    _ => return Err(error),
                },
            }
        }
        if let Some(signature) = signature {
            self.sign(signature, was_there && !self.overwrite).await?;
        }
        // Somebody else may have removed both, and what is left does no harm.
        let _ = self.remote.store.delete(&self.staging).await;
        let _ = fs::remove_file(&self.record);
        Ok(was_there)
    }

    /// Whether this bundle has its name already. That another one has it is an error, unless it is to be replaced.
    async fn is_there(&self) -> Result<bool> {
        match self.digest(&self.remote.path).await? {
            Some(found) if found == self.bundle.sha256 => Ok(true),
            Some(_) if !self.overwrite => Err(Error::Published { location: self.remote.shown.clone() }),
            _ => Ok(false),
        }
    }

    async fn transfer(&self) -> Result<bool> {
        let size = match self.remote.store.head(&self.staging).await {
            Err(StoreError::NotFound { .. }) => None,
            other => Some(other.map_err(|it| self.failed(&it))?.size),
        };
        if size != Some(self.bundle.len) {
            self.upload().await?;
        }
        let found = self.digest(&self.staging).await?;
        let found = found.unwrap_or_else(|| "that of nothing".to_owned());
        if found != self.bundle.sha256 {
            // It is of no use to anybody, and would be in the way of the next attempt.
            let _ = self.remote.store.delete(&self.staging).await;
            let (location, expected) = (self.remote.shown.clone(), self.bundle.sha256.clone());
            return Err(Error::Digest { location, expected, found });
        }
        let copied = if self.overwrite {
            self.remote.store.copy(&self.staging, &self.remote.path).await
        } else {
            self.remote.store.copy_if_not_exists(&self.staging, &self.remote.path).await
        };
        match copied {
            Ok(()) => Ok(false),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                match self.is_there().await? {
                    true => Ok(true),
                    false => Err(Error::Published { location: self.remote.shown.clone() }),
                }
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn upload(&self) -> Result<()> {
        if self.bundle.len <= PART {
            let mut file = File::open(&self.bundle.path).map_err(Error::io("open", &self.bundle.path))?;
            let content = self.part(&mut file, 0)?;
            self.remote.store.put(&self.staging, content).await.map_err(|it| self.failed(&it))?;
        } else if !self.upload_parts(self.recorded()).await? {
            // The store forgets uploads that nobody has finished; then there is nothing to go on with.
            self.upload_parts(None).await?;
        }
        (self.on_bytes)(self.bundle.len, self.bundle.len);
        Ok(())
    }

    /// Uploads what is missing according to the record of an earlier attempt. Answers no if the store does not know that one.
    async fn upload_parts(&self, record: Option<Record>) -> Result<bool> {
        let store = &self.remote.parts;
        let goes_on = record.is_some();
        let is_forgotten = |error: &StoreError| {
            goes_on && matches!(error, StoreError::NotFound { .. } | StoreError::PermissionDenied { .. })
        };
        let mut record = match record {
            Some(record) => record,
            None => {
                let id = store.create_multipart(&self.staging).await.map_err(|it| self.failed(&it))?;
                let (location, sha256) = (self.remote.shown.clone(), self.bundle.sha256.clone());
                let record = Record { location, sha256, id, parts: Vec::new() };
                self.save(&record)?;
                record
            }
        };
        let mut file = File::open(&self.bundle.path).map_err(Error::io("open", &self.bundle.path))?;
        for index in record.parts.len() as u64..self.bundle.len.div_ceil(PART) {
            (self.on_bytes)(index * PART, self.bundle.len);
            let content = self.part(&mut file, index)?;
            match store.put_part(&self.staging, &record.id, index as usize, content).await {
                Ok(part) => record.parts.push(part.content_id),
                Err(error) if is_forgotten(&error) => return Ok(false),
                Err(error) => return Err(self.failed(&error)),
            }
            self.save(&record)?;
        }
        let ids = record.parts.iter().map(|it| PartId { content_id: it.clone() }).collect();
        match store.complete_multipart(&self.staging, &record.id, ids).await {
            Err(error) if is_forgotten(&error) => Ok(false),
            other => other.map(|_| true).map_err(|it| self.failed(&it)),
        }
    }

    /// A part of the bundle.
    fn part(&self, file: &mut File, index: u64) -> Result<PutPayload> {
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(index * PART))
            .and_then(|_| file.take(PART).read_to_end(&mut content))
            .map_err(Error::io("read", &self.bundle.path))?;
        Ok(content.into())
    }

    async fn sign(&self, signature: &str, keep: bool) -> Result<()> {
        let key = Key::parse(format!("{}{SIGNATURE_EXTENSION}", self.remote.path));
        let key = key.map_err(|it| self.failed(&it.into()))?;
        let mode = if keep { PutMode::Create } else { PutMode::Overwrite };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.remote.store.put_opts(&key, signature.to_owned().into(), options).await {
            Err(StoreError::AlreadyExists { .. }) => Ok(()),
            other => other.map(|_| ()).map_err(|it| self.failed(&it)),
        }
    }

    /// The SHA-256 of an object, if there is one.
    async fn digest(&self, key: &Key) -> Result<Option<String>> {
        let mut stream = match self.remote.store.get(key).await {
            Err(error @ StoreError::NotFound { .. }) => {
                remote::without_bucket("publish", &self.remote.shown, &error)?;
                return Ok(None);
            }
            other => other.map_err(|it| self.failed(&it))?.into_stream(),
        };
        let mut hasher = Sha256::new();
        while let Some(chunk) = stream.next().await {
            hasher.update(&chunk.map_err(|it| self.failed(&it))?);
        }
        Ok(Some(hash::hex(hasher)))
    }

    fn recorded(&self) -> Option<Record> {
        let known = fs::read(&self.record).ok().and_then(|it| serde_json::from_slice::<Record>(&it).ok());
        known.filter(|it| it.location == self.remote.shown && it.sha256 == self.bundle.sha256)
    }

    fn save(&self, record: &Record) -> Result<()> {
        let write = || {
            let directory = self.record.parent().unwrap_or(Path::new("."));
            let mut file = temporary(directory)?;
            serde_json::to_writer(file.as_file_mut(), record)?;
            file.persist(&self.record).map_err(|it| it.error)
        };
        write().map(|_| ()).map_err(Error::io("write", &self.record))
    }

    fn failed(&self, error: &StoreError) -> Error {
        failed("publish", &self.remote.shown, error)
    }
}
