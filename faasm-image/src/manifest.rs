//! The manifest of an image, and the directory it describes.
//!
//! ```text
//! manifest.json   what the image was made from, and what it needs
//! py_func.wasm    the WebAssembly module
//! py_func.cwasm   its machine code
//! boot.mem        its memory before the first instruction
//! base.mem        its memory after initialisation
//! root/           the files its guests see as `/`
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    Code, ENGINE_VERSION, Error, MemoryImage, Result, code::BACKEND, engine, file, host_target, target,
};

/// The version of the manifest's format and of the files' meaning. A program reads only its own.
pub const FORMAT: u64 = 1;

const MANIFEST: &str = "manifest.json";

/// What an image was made from and what it needs; `manifest.json` in an image's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u64,
    /// The version of Python in it, such as `3.13.5`.
    pub python: String,
    /// The WebAssembly module.
    pub wasm: FileEntry,
    /// The module's machine code.
    pub code: CodeEntry,
    /// The memory before the first instruction.
    pub boot: FileEntry,
    /// The memory after initialisation.
    pub base: FileEntry,
    /// What the image was made from, by name: versions, hashes, flags.
    pub inputs: BTreeMap<String, String>,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the image's directory.
    pub file: String,
    /// The SHA-256 of its content, in lower-case hexadecimal.
    pub sha256: String,
    /// Its length, in bytes.
    pub len: u64,
}

impl FileEntry {
    /// Describes the file `name` in `dir`.
    pub fn of(dir: &Path, name: &str) -> Result<FileEntry> {
        let (sha256, len) = file::digest(&dir.join(name))?;
        Ok(FileEntry { file: name.to_owned(), sha256, len })
    }
}

/// Machine code and what can run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeEntry {
    /// The file.
    #[serde(flatten)]
    pub file: FileEntry,
    /// What made it; `cranelift`.
    pub backend: String,
    /// The engine's version.
    pub engine: String,
    /// The target it is for: a triple, of x86-64 also with a level, as [`compile`](crate::compile) takes it.
    pub target: String,
    /// The [`fingerprint`](crate::fingerprint) of the engine's settings for that target. Which features of this machine's
    /// processor the code uses is not in it: the code itself says that, and one processor may run code for another.
    pub settings: String,
}

impl CodeEntry {
    /// Describes the file `name` in `dir`, which this version of the crate compiled for `target`; `None` stands for
    /// this machine, as in [`compile`](crate::compile).
    pub fn of(dir: &Path, name: &str, target: Option<&str>) -> Result<CodeEntry> {
        let target = target.map_or_else(host_target, str::to_owned);
        Ok(CodeEntry {
            file: FileEntry::of(dir, name)?,
            backend: BACKEND.to_owned(),
            engine: ENGINE_VERSION.to_owned(),
            settings: engine::fingerprint(Some(&target))?,
            target,
        })
    }
}

impl Manifest {
    /// Reads the manifest of the image in `dir`.
    pub fn read(dir: &Path) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Header {
            format: u64,
        }

        let path = dir.join(MANIFEST);
        let text = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoImage { dir: dir.to_owned() },
            _ => Error::Io { action: "read", path: path.clone(), source },
        })?;
        // The format comes first: to say which one it is helps more than to say which field is missing.
        let malformed = |source| Error::Manifest { path: path.clone(), source };
        let Header { format } = serde_json::from_slice(&text).map_err(malformed)?;
        if format != FORMAT {
            return Err(Error::Format { dir: dir.to_owned(), found: format });
        }
        serde_json::from_slice(&text).map_err(malformed)
    }

    /// Writes the manifest of the image in `dir`. It makes the directory an image, so it is written last.
    pub fn write(&self, dir: &Path) -> Result<()> {
        file::write_atomically(&dir.join(MANIFEST), |file| {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            file.write_all(&text)
        })
    }

    fn files(&self) -> [&FileEntry; 4] {
        [&self.wasm, &self.code.file, &self.boot, &self.base]
    }
}

/// An image on disk that this program can run.
#[derive(Clone, Debug)]
pub struct Image {
    dir: PathBuf,
    manifest: Manifest,
}

impl Image {
    /// Opens the image in `dir`: reads its manifest and checks that this program can run its code and that its files
    /// have their full length. Their content is not looked at, since that takes too long for every start; see
    /// [`verify`](Image::verify).
    ///
    /// The directory is trusted as a program is, see [`Code::load`].
    pub fn open(dir: &Path) -> Result<Image> {
        let manifest = Manifest::read(dir)?;
        let code = &manifest.code;
        let expect = |what, found: &str, expected: &str| {
            if found == expected {
                return Ok(());
            }
            let (found, expected) = (found.to_owned(), expected.to_owned());
            Err(Error::Incompatible { dir: dir.to_owned(), what, found, expected })
        };
        expect("the backend", &code.backend, BACKEND)?;
        expect("engine version", &code.engine, ENGINE_VERSION)?;
        if !target::is_host(&code.target) {
            expect("the target", &code.target, &host_target())?;
        }
        expect("engine settings", &code.settings, &engine::fingerprint(Some(&code.target))?)?;

        let image = Image { dir: dir.to_owned(), manifest };
        for entry in image.manifest.files() {
            let path = image.path(entry)?;
            let found = fs::metadata(&path).map_err(Error::io("open", &path))?.len();
            if found != entry.len {
                return Err(Error::Length { path, expected: entry.len, found });
            }
        }
        let root = image.root();
        fs::metadata(&root).map_err(Error::io("open", &root))?;
        Ok(image)
    }

    /// Reads every file the manifest names and compares its SHA-256. To be used after an image was copied.
    pub fn verify(&self) -> Result<()> {
        for entry in self.manifest.files() {
            let path = self.path(entry)?;
            let (found, _) = file::digest(&path)?;
            if found != entry.sha256 {
                return Err(Error::Digest { path, expected: entry.sha256.clone(), found });
            }
        }
        Ok(())
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The image's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that guests see as `/`, with Python's library in `lib`.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Loads the machine code.
    pub fn load_code(&self) -> Result<Code> {
        Code::load(&self.path(&self.manifest.code.file)?)
    }

    /// The memory before the first instruction.
    pub fn boot(&self) -> Result<MemoryImage> {
        MemoryImage::from_file(&self.path(&self.manifest.boot)?)
    }

    /// The memory after initialisation.
    pub fn base(&self) -> Result<MemoryImage> {
        MemoryImage::from_file(&self.path(&self.manifest.base)?)
    }

    fn path(&self, entry: &FileEntry) -> Result<PathBuf> {
        let name = Path::new(&entry.file);
        if name.file_name() != Some(name.as_os_str()) {
            return Err(Error::FileName { dir: self.dir.clone(), file: entry.file.clone() });
        }
        Ok(self.dir.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small image in a directory of its own.
    fn image() -> tempfile::TempDir {
        let wasm = wat::parse_str(
            r#"(module (memory (export "memory") 1) (data (i32.const 0) "x") (func (export "f")))"#,
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(dir.path().join(name), content).unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        write("py_func.wasm", &wasm);
        write("py_func.cwasm", &crate::compile(&wasm, None).unwrap());
        write("boot.mem", &crate::boot_memory(&wasm).unwrap());
        write("base.mem", &crate::boot_memory(&wasm).unwrap());
        Manifest {
            format: FORMAT,
            python: "3.13.5".to_owned(),
            wasm: FileEntry::of(dir.path(), "py_func.wasm").unwrap(),
            code: CodeEntry::of(dir.path(), "py_func.cwasm", None).unwrap(),
            boot: FileEntry::of(dir.path(), "boot.mem").unwrap(),
            base: FileEntry::of(dir.path(), "base.mem").unwrap(),
            inputs: BTreeMap::from([("source".to_owned(), "abc".to_owned())]),
        }
        .write(dir.path())
        .unwrap();
        dir
    }

    #[test]
    fn an_image_opens_and_loads() {
        let dir = image();
        let image = Image::open(dir.path()).unwrap();
        image.verify().unwrap();
        image.load_code().unwrap();
        assert_eq!(image.boot().unwrap().size(), image.base().unwrap().size());
        assert_eq!(Manifest::read(dir.path()).unwrap(), *image.manifest());
    }

    #[test]
    fn what_is_wrong_with_an_image_is_named() {
        let edit = |from: &'static str, to: &'static str| {
            move |dir: &Path| {
                let path = dir.join(MANIFEST);
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.contains(from), "{text}");
                fs::write(path, text.replace(from, to)).unwrap();
            }
        };
        let cut = |name: &'static str| {
            move |dir: &Path| {
                fs::OpenOptions::new().write(true).open(dir.join(name)).unwrap().set_len(10).unwrap();
            }
        };
        type Damage = Box<dyn Fn(&Path)>;
        let cases: Vec<(Damage, &str)> = vec![
            (Box::new(|dir| fs::remove_file(dir.join(MANIFEST)).unwrap()), "find an image in"),
            (Box::new(cut(MANIFEST)), "read the manifest"),
            (Box::new(edit("\"python\"", "\"snake\"")), "read the manifest"),
            (
                Box::new(edit("\"format\": 1", "\"format\": 99")),
                "it has format 99, and this program reads format 1",
            ),
            (Box::new(edit("\"cranelift\"", "\"llvm\"")), "is for the backend llvm"),
            (Box::new(edit(ENGINE_VERSION, "47.0.0")), "is for engine version 47.0.0"),
            (Box::new(edit("\"target\": \"", "\"target\": \"pdp11-")), "is for the target pdp11-"),
            (Box::new(edit("\"settings\": \"", "\"settings\": \"0")), "is for engine settings 0"),
            (Box::new(edit("\"boot.mem\"", "\"../boot.mem\"")), "which is not a plain file name"),
            (Box::new(edit("\"boot.mem\"", "\"..\"")), "which is not a plain file name"),
            (Box::new(cut("py_func.wasm")), "py_func.wasm: it has 10 bytes where the manifest says"),
            (Box::new(cut("py_func.cwasm")), "py_func.cwasm: it has 10 bytes where the manifest says"),
            (Box::new(cut("base.mem")), "base.mem: it has 10 bytes where the manifest says 65536"),
        ];
        for (damage, expected) in cases {
            let dir = image();
            damage(dir.path());
            let error = Image::open(dir.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{expected}: {error}");
            assert!(error.hint().unwrap().contains("cargo faasm build"), "{error}");
        }

        let dir = image();
        fs::remove_file(dir.path().join("base.mem")).unwrap();
        let error = Image::open(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("open ") && error.ends_with("base.mem"), "{error}");
    }

    #[test]
    fn changed_content_is_found_by_verifying() {
        let dir = image();
        let image = Image::open(dir.path()).unwrap();
        let path = dir.path().join("base.mem");
        let mut bytes = fs::read(&path).unwrap();
        bytes[100] ^= 1;
        fs::write(&path, bytes).unwrap();
        Image::open(dir.path()).unwrap();
        let error = image.verify().unwrap_err();
        assert!(matches!(&error, Error::Digest { path: found, .. } if *found == path), "{error}");
    }

    #[test]
    fn foreign_machine_code_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("code");
        let other_engine = wasmtime::Engine::default().precompile_module(b"\0asm\x01\0\0\0").unwrap();
        for content in [&b""[..], b"not machine code at all", &other_engine] {
            fs::write(&path, content).unwrap();
            let error = Code::load(&path).err().unwrap();
            assert!(matches!(error, Error::Load { .. }), "{error}");
            assert!(error.hint().is_some());
        }
        let error = Code::load(&dir.path().join("absent")).err().unwrap();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}
