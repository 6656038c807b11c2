//! Writing bundles. The same contents give the same bytes, wherever they lie and whenever it is done.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use faasm_image::{CodeEntry, Image};

use crate::error::{Error, Result};
use crate::hash::{self, Hashing};
use crate::manifest::{
    CodePart, FORMAT, FilePart, FunctionPart, ImagePart, MANIFEST, Manifest, NAME, check_path, check_version,
    identity, target,
};

/// The compression that bundles have unless something else is asked for.
pub const DEFAULT_COMPRESSION: i32 = 19;

/// The highest compression that needs no more memory than readers allow.
pub const HIGHEST_COMPRESSION: i32 = 19;

/// Machine code that a bundle is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// That of the image, which is for the processor of the machine that made it.
    Native,
    /// For a target, as [`faasm_image::compile`] takes it: a triple, of x86-64 also with a level.
    Named(String),
}

/// A function that a bundle is to have.
#[derive(Clone, Debug)]
pub struct Function {
    /// Whose it is.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Its source, or an archive.
    pub source: Vec<u8>,
    /// What the name of its file ends with, such as `py`.
    pub extension: String,
}

/// What a bundle is made of.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    /// Its version.
    pub version: &'a str,
    /// The directory of the image.
    pub image: &'a Path,
    /// Machine code. What is there twice counts once.
    pub targets: &'a [Target],
    /// Functions.
    pub functions: &'a [Function],
    /// Further files, by path: the bill of materials, licences.
    pub documents: &'a BTreeMap<String, Vec<u8>>,
    /// The level of the compression, from 1 to [`HIGHEST_COMPRESSION`].
    pub compression: i32,
}

/// A bundle that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// What it has.
    pub manifest: Manifest,
    /// Its SHA-256.
    pub sha256: String,
    /// Its size, in bytes.
    pub len: u64,
}

/// Writes a bundle into a directory, under the name that its manifest gives it. `progress` is told what is done.
///
/// # Errors
///
/// When the image is damaged or cannot be run here, something cannot be in a bundle, there is no code generator for a target, or a file
/// cannot be read or written.
pub fn write(contents: &Contents<'_>, directory: &Path, progress: &dyn Fn(&str)) -> Result<Written> {
    check_version(contents.version)
        .map_err(|reason| Error::Content { name: contents.version.to_owned(), reason })?;
    let image = Image::open(contents.image)?;
    let mut files = Files::default();
    let code = add_code(&mut files, &image, contents.targets, progress)?;
    progress("checking the image");
    image.verify()?;
    let made = image.manifest();
    files.add(WASM, Source::File(contents.image.join(&made.wasm.file)))?;
    files.add(BASE, Source::File(contents.image.join(&made.base.file)))?;
    files.add_tree("image/root", &image.root())?;
    let mut functions = Vec::new();
    for function in contents.functions {
        let Function { user, name, source, extension } = function;
        let path = format!("functions/{user}/{name}.{extension}");
        files.add(&path, Source::Bytes(source.clone()))?;
        functions.push(FunctionPart { user: user.clone(), name: name.clone(), path });
    }
    for (path, content) in contents.documents {
        files.add(path, Source::Bytes(content.clone()))?;
    }

    let parts = files.describe()?;
    let image = ImagePart {
        format: made.format,
        python: made.python.clone(),
        boot: made.boot.sha256.clone(),
        inputs: made.inputs.clone(),
    };
    let refuse =
        |error: serde_json::Error| Error::Content { name: MANIFEST.to_owned(), reason: error.to_string() };
    let manifest = Manifest {
        format: FORMAT,
        name: NAME.to_owned(),
        version: contents.version.to_owned(),
        target: target(&code),
        identity: identity(&image, &parts).map_err(refuse)?,
        image,
        code,
        functions,
        files: parts,
    };
    // What this crate would not read it does not write.
    manifest.check().map_err(|reason| Error::Content { name: MANIFEST.to_owned(), reason })?;
    let first = manifest.to_bytes().map_err(refuse)?;
    progress("compressing");
    fs::create_dir_all(directory).map_err(Error::io("create the directory", directory))?;
    let path = directory.join(manifest.file_name());
    let (sha256, len) = archive(&path, &first, &manifest, &files, contents.compression)?;
    Ok(Written { path, manifest, sha256, len })
}

pub(crate) const WASM: &str = "image/py_func.wasm";
pub(crate) const BASE: &str = "image/base.mem";

#[derive(Default)]
struct Files(BTreeMap<String, Source>);

enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Files {
    fn add(&mut self, path: &str, source: Source) -> Result<()> {
        let refuse = |reason: String| Error::Content { name: path.to_owned(), reason };
        check_path(path).map_err(refuse)?;
        // So that every tool which reads archives can read it, and ours needs no extensions of the format.
        header(path, 0).map_err(|error| refuse(error.to_string()))?;
        if self.0.insert(path.to_owned(), source).is_some() {
            return Err(refuse("it is there already".to_owned()));
        }
        Ok(())
    }

    /// The order in which a directory is read does not matter, since files are sorted.
    fn add_tree(&mut self, path: &str, directory: &Path) -> Result<()> {
        for entry in fs::read_dir(directory).map_err(Error::io("read the directory", directory))? {
            let entry = entry.map_err(Error::io("read the directory", directory))?;
            let (name, source) = (entry.file_name(), entry.path());
            let refuse = |reason: &str| Error::Content {
                name: source.display().to_string(),
                reason: reason.to_owned(),
            };
            let name = name.to_str().ok_or_else(|| refuse("its name is not UTF-8"))?;
            let kind = entry.file_type().map_err(Error::io("read", &source))?;
            let path = format!("{path}/{name}");
            if kind.is_dir() {
                self.add_tree(&path, &source)?;
            } else if kind.is_file() {
                self.add(&path, Source::File(source))?;
            } else {
                return Err(refuse("it is neither a file nor a directory"));
            }
        }
        Ok(())
    }

    fn describe(&self) -> Result<Vec<FilePart>> {
        let part = |(path, source): (&String, &Source)| -> Result<FilePart> {
            let (sha256, len) = match source {
                Source::File(file) => hash::file(file)?,
                Source::Bytes(bytes) => {
                    let mut hashing = Hashing::new(bytes.as_slice());
                    io::copy(&mut hashing, &mut io::sink()).map_err(Error::io("read", path))?;
                    hashing.finish()
                }
            };
            Ok(FilePart { path: path.clone(), sha256, len })
        };
        self.0.iter().map(part).collect()
    }
}

/// Generates machine code, and answers what is known of it.
fn add_code(
    files: &mut Files,
    image: &Image,
    targets: &[Target],
    progress: &dyn Fn(&str),
) -> Result<Vec<CodePart>> {
    let mut code: Vec<CodePart> = Vec::new();
    let work = tempfile::tempdir().map_err(Error::io("create a directory in", std::env::temp_dir()))?;
    for target in targets {
        let (path, source, entry) = match target {
            Target::Native => {
                let entry = image.manifest().code.clone();
                let path = format!("code/{}-native.cwasm", entry.target);
                (path, Source::File(image.dir().join(&entry.file.file)), entry)
            }
            Target::Named(target) => {
                let path = format!("code/{target}.cwasm");
                if code.iter().any(|it| it.path == path) {
                    continue;
                }
                progress(&format!("generating machine code for {target}"));
                let wasm = image.dir().join(&image.manifest().wasm.file);
                let wasm = fs::read(&wasm).map_err(Error::io("read", &wasm))?;
                let compiled = faasm_image::compile(&wasm, Some(target))?;
                let name = format!("{target}.cwasm");
                let file = work.path().join(&name);
                fs::write(&file, &compiled).map_err(Error::io("write", &file))?;
                let entry = CodeEntry::of(work.path(), &name, Some(target))?;
                (path, Source::Bytes(compiled), entry)
            }
        };
        if code.iter().any(|it| it.path == path) {
            continue;
        }
        files.add(&path, source)?;
        let CodeEntry { backend, engine, target, settings, .. } = entry;
        code.push(CodePart { path, backend, engine, target, settings });
    }
    code.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(code)
}

fn archive(
    path: &Path,
    first: &[u8],
    manifest: &Manifest,
    files: &Files,
    compression: i32,
) -> Result<(String, u64)> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let permissions = Permissions::from_mode(0o666);
    let file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory);
    let mut file = file.map_err(Error::io("write", path))?;
    let mut encoder = encoder(file.as_file_mut(), compression).map_err(Error::io("write", path))?;
    append(&mut encoder, MANIFEST, first.len() as u64, first).map_err(Error::io("write", path))?;
    for (part, (name, source)) in manifest.files.iter().zip(&files.0) {
        match source {
            Source::Bytes(bytes) => append(&mut encoder, name, part.len, bytes.as_slice()),
            Source::File(from) => {
                let mut content = Hashing::new(File::open(from).map_err(Error::io("open", from))?);
                let appended = append(&mut encoder, name, part.len, &mut content);
                let (sha256, len) = content.finish();
                if appended.is_ok() && (sha256 != part.sha256 || len != part.len) {
                    let reason = "it was changed while the bundle was written".to_owned();
                    return Err(Error::Content { name: from.display().to_string(), reason });
                }
                appended
            }
        }
        .map_err(Error::io("write", path))?;
    }
    // Two empty blocks are the end of an archive.
    encoder.write_all(&[0; 1024]).map_err(Error::io("write", path))?;
    let written = encoder.finish().map_err(Error::io("write", path))?.finish();
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(written)
}

fn encoder(file: &mut File, compression: i32) -> io::Result<zstd::Encoder<'static, Hashing<&mut File>>> {
    let mut encoder = zstd::Encoder::new(Hashing::new(file), compression)?;
    encoder.include_checksum(true)?;
    // The result depends on whether there are threads, and not on how many.
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
    Ok(encoder)
}

fn append(archive: &mut impl Write, path: &str, len: u64, content: impl Read) -> io::Result<()> {
    archive.write_all(header(path, len)?.as_bytes())?;
    io::copy(&mut content.take(len), archive)?;
    let padding = len.next_multiple_of(512) - len;
    archive.write_all([0; 512].get(..padding as usize).unwrap_or_default())
}

/// The header of an entry, in the format of POSIX 1003.1-1988 ("ustar"), which has nothing of where, when and by whom it was written.
fn header(path: &str, len: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(len);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}
