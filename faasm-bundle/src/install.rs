//! From a bundle to an image that this machine can run.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;

use faasm_image::{CodeEntry, ENGINE_VERSION, FileEntry, Image, target_level};

use crate::error::{Error, Result};
use crate::hash;
use crate::manifest::{CodePart, FilePart, Manifest};
use crate::read::{Bundle, Limits};
use crate::write::{BASE, WASM};

/// Where in the directory of an image the rest of its bundle is: manifest, bill of materials, licences, functions.
pub const DIRECTORY: &str = "bundle";

const CODE: &str = "py_func.cwasm";
const BOOT: &str = "boot.mem";

/// The largest memory that a guest can have, in bytes. What of it is zero takes no room.
const MEMORY: usize = 4 << 30;

/// What is done with the machine code in a bundle.
///
/// Machine code is trusted as a program is. So it is used only of a bundle that somebody whose programs would be run here, too, has
/// signed, or that is a file which somebody has put here to be installed as a program is. WebAssembly and memories of guests need no such
/// trust: whatever they are, they run in sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineCode {
    /// It is not even written to the disk; the WebAssembly module is compiled.
    Compile,
    /// It is used if it is for this machine. Otherwise the module is compiled.
    Trust,
}

/// An image that was made from a bundle.
#[derive(Clone, Debug)]
pub struct Installed {
    /// What the bundle has.
    pub manifest: Manifest,
    /// Whether its machine code was made here.
    pub compiled: bool,
}

/// Makes `directory`, which must be there and empty, an image from a bundle, and has it written out to the disk. `progress` is told what
/// is done.
///
/// # Errors
///
/// When the bundle is damaged, or the directory cannot be written. Then the directory is to be removed.
pub fn install(
    bundle: &mut Bundle,
    directory: &Path,
    code: MachineCode,
    limits: &Limits,
    progress: &dyn Fn(&str),
) -> Result<Installed> {
    progress("unpacking");
    let own = directory.join(DIRECTORY);
    fs::create_dir(&own).map_err(Error::io("create the directory", &own))?;
    let keep = |manifest: &Manifest, file: &FilePart| {
        code == MachineCode::Trust || !manifest.code.iter().any(|it| it.path == file.path)
    };
    let manifest = bundle.unpack(&own, limits, &keep)?;
    move_up(&own.join("image"), directory)?;
    let module = manifest.file(WASM).ok_or_else(|| missing(&own, WASM))?;
    let base = manifest.file(BASE).ok_or_else(|| missing(&own, BASE))?;
    // An image without a library is one whose guests see an empty directory.
    let root = directory.join("root");
    fs::create_dir_all(&root).map_err(Error::io("create the directory", &root))?;

    let path = directory.join("py_func.wasm");
    let wasm = fs::read(&path).map_err(Error::io("read", &path))?;
    let boot = directory.join(BOOT);
    faasm_image::save_boot_memory(&wasm, &boot, MEMORY)?;
    let found = hash::file(&boot)?.0;
    if found != manifest.image.boot {
        let reason = "the memory in its module is not the one that its manifest says".to_owned();
        return Err(Error::Damaged { path: own, reason });
    }

    let mut made = faasm_image::Manifest {
        format: manifest.image.format,
        python: manifest.image.python.clone(),
        wasm: entry("py_func.wasm", module),
        // Replaced below.
        code: CodeEntry {
            file: FileEntry { file: CODE.to_owned(), sha256: String::new(), len: 0 },
            backend: String::new(),
            engine: String::new(),
            target: String::new(),
            settings: String::new(),
        },
        boot: FileEntry::of(directory, BOOT)?,
        base: entry("base.mem", base),
        inputs: manifest.image.inputs.clone(),
    };
    let compiled = !(code == MachineCode::Trust && use_code(&mut made, &manifest, &own, directory)?);
    if compiled {
        progress("compiling WebAssembly to machine code");
        let path = directory.join(CODE);
        fs::write(&path, faasm_image::compile(&wasm, None)?).map_err(Error::io("write", &path))?;
        made.code = CodeEntry::of(directory, CODE, None)?;
        made.write(directory)?;
    }
    // What is not used takes space, and would be machine code that nobody asked for.
    match fs::remove_dir_all(own.join("code")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", own.join("code"))(error));
        }
        _ => {}
    }
    Image::open(directory)?;
    faasm_image::write_out(directory).map_err(Error::io("write out", directory))?;
    Ok(Installed { manifest, compiled })
}

/// Takes the machine code of the bundle that this machine can run, if there is some. Code for one processor goes before code for all of
/// its kind, and of that the one for those which can do most.
fn use_code(
    made: &mut faasm_image::Manifest,
    manifest: &Manifest,
    own: &Path,
    directory: &Path,
) -> Result<bool> {
    let mut parts: Vec<&CodePart> = manifest.code.iter().filter(|it| it.engine == ENGINE_VERSION).collect();
    parts.sort_by_key(|it| (!it.path.ends_with("-native.cwasm"), Reverse(target_level(&it.target))));
    let path = directory.join(CODE);
    for part in parts {
        let file = manifest.file(&part.path).ok_or_else(|| missing(own, &part.path))?;
        let CodePart { backend, engine, target, settings, .. } = part.clone();
        made.code = CodeEntry { file: entry(CODE, file), backend, engine, target, settings };
        let from = own.join(&part.path);
        fs::rename(&from, &path).map_err(Error::io("move", &from))?;
        made.write(directory)?;
        // Whether the processor has all that the code uses the engine finds out.
        if Image::open(directory).and_then(|image| image.load_code()).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn entry(name: &str, part: &FilePart) -> FileEntry {
    FileEntry { file: name.to_owned(), sha256: part.sha256.clone(), len: part.len }
}

fn missing(own: &Path, name: &str) -> Error {
    Error::damaged(own, format!("it has no {name}"))
}

fn move_up(from: &Path, to: &Path) -> Result<()> {
    let entries = match fs::read_dir(from) {
        // What is missing is named when it is looked for.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("read the directory", from))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("read the directory", from))?;
        let target = to.join(entry.file_name());
        fs::rename(entry.path(), &target).map_err(Error::io("create", &target))?;
    }
    fs::remove_dir(from).map_err(Error::io("remove", from))
}
