//! Layers: archives of a part of a file system, the same whenever they are made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::hash::Hashing;

/// Files and directories by path, without a slash in front.
#[derive(Default)]
pub(super) struct Layer(BTreeMap<String, Entry>);

enum Entry {
    Directory { mode: u32, owner: u64 },
    File { source: Source, mode: u32 },
}

enum Source {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

/// A layer that was written.
pub(super) struct Packed {
    /// The SHA-256 of its file, which is also its name.
    pub(super) digest: String,
    /// The SHA-256 of what is in it when it is not compressed.
    pub(super) content: String,
    len: u64,
}

impl Packed {
    pub(super) fn descriptor(&self) -> Value {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": format!("sha256:{}", self.digest),
            "size": self.len,
        })
    }
}

impl Layer {
    /// Adds a directory, and those above it.
    pub(super) fn directory(&mut self, path: &str, mode: u32, owner: u64) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::Directory { mode, owner });
    }

    /// Adds a file of this machine. A symbolic link stands for what it leads to.
    pub(super) fn file(&mut self, path: &str, from: &Path, mode: u32) -> Result<()> {
        self.add(path, Source::Path(from.to_path_buf()), mode)
    }

    pub(super) fn bytes(&mut self, path: &str, content: Vec<u8>, mode: u32) -> Result<()> {
        self.add(path, Source::Bytes(content), mode)
    }

    /// Adds a directory of this machine with all that is in it.
    pub(super) fn tree(&mut self, path: &str, from: &Path) -> Result<()> {
        self.directory(path, 0o755, 0);
        for entry in fs::read_dir(from).map_err(Error::io("read the directory", from))? {
            let entry = entry.map_err(Error::io("read the directory", from))?;
            let source = entry.path();
            let name =
                entry.file_name().into_string().map_err(|_| refuse(&source, "its name is not UTF-8"))?;
            // What the cache keeps beside an image is no part of it.
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(Error::io("read", &source))?;
            let path = format!("{path}/{name}");
            if kind.is_dir() {
                self.tree(&path, &source)?;
            } else if kind.is_file() {
                self.file(&path, &source, 0o644)?;
            } else {
                return Err(refuse(&source, "it is neither a file nor a directory"));
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &str, source: Source, mode: u32) -> Result<()> {
        header(path, tar::EntryType::Regular).map_err(|error| refuse(Path::new(path), &error.to_string()))?;
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::File { source, mode });
        Ok(())
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = path.get(..at).unwrap_or_default().to_owned();
            self.0.entry(parent).or_insert(Entry::Directory { mode: 0o755, owner: 0 });
        }
    }

    /// Writes the layer, compressed, into a directory, where its name is its hash.
    pub(super) fn pack(&self, directory: &Path) -> Result<Packed> {
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(Error::io("write", directory))?;
        // No name, time or system of origin is in its header.
        let encoder = GzBuilder::new().write(Hashing::new(file.as_file_mut()), Compression::default());
        let mut content = Hashing::new(encoder);
        self.write(&mut content, directory)?;
        let (encoder, content) = content.into_parts();
        let compressed = encoder.finish().map_err(Error::io("write", directory))?;
        let (digest, len) = compressed.finish();
        let path = directory.join(&digest);
        file.persist(&path).map_err(|error| Error::io("write", &path)(error.error))?;
        Ok(Packed { digest, content, len })
    }

    /// Writes the archive. Errors name `path`.
    pub(super) fn write(&self, out: &mut impl Write, path: &Path) -> Result<()> {
        let failed = || Error::io("write", path);
        for (name, entry) in &self.0 {
            match entry {
                Entry::Directory { mode, owner } => {
                    let header = header(&format!("{name}/"), tar::EntryType::Directory);
                    let mut header = header.map_err(failed())?;
                    header.set_mode(*mode);
                    header.set_uid(*owner);
                    header.set_gid(*owner);
                    header.set_cksum();
                    out.write_all(header.as_bytes()).map_err(failed())?;
                }
                Entry::File { source, mode } => {
                    let content: &mut dyn io::Read = match source {
                        Source::Bytes(bytes) => &mut bytes.as_slice(),
                        Source::Path(from) => &mut File::open(from).map_err(Error::io("open", from))?,
                    };
                    let len = match source {
                        Source::Bytes(bytes) => bytes.len() as u64,
                        Source::Path(from) => fs::metadata(from).map_err(Error::io("open", from))?.len(),
                    };
                    let mut header = header(name, tar::EntryType::Regular).map_err(failed())?;
                    header.set_mode(*mode);
                    header.set_size(len);
                    header.set_cksum();
                    out.write_all(header.as_bytes()).map_err(failed())?;
                    let copied = io::copy(&mut io::Read::take(content, len), out).map_err(failed())?;
                    if copied != len {
                        return Err(refuse(Path::new(name), "it was changed while it was read"));
                    }
                    let padding = vec![0; (len.next_multiple_of(512) - len) as usize];
                    out.write_all(&padding).map_err(failed())?;
                }
            }
        }
        out.write_all(&[0; 1024]).map_err(failed())
    }
}

fn header(path: &str, kind: tar::EntryType) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    Ok(header)
}

fn refuse(path: &Path, reason: &str) -> Error {
    Error::Content { name: path.display().to_string(), reason: reason.to_owned() }
}
