//! Runtimes that clients send: bundles, and bare WebAssembly modules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use faasm_bundle::{Bundle, MachineCode};
use faasm_image::{Code, CodeEntry, FORMAT, FileEntry, Image, Limits, Manifest, MemoryImage, Program};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::files::{self, Lock, io};
use super::{Registry, RegistryError, Result, StoredRuntime, hash};
use crate::host::{self, Host};

/// What bundles begin with, as all that Zstandard has compressed.
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What WebAssembly modules begin with.
const WASM: &[u8; 4] = b"\0asm";

/// How long an interpreter may take to be initialised.
const DEADLINE: Duration = Duration::from_secs(60);

impl Registry {
    /// Adds a runtime that was sent: a bundle, of which the functions are added, too, or a WebAssembly module alone, which gets
    /// the library of the image `like` and imports what that has imported. Machine code is made here; what is sent of it is not used.
    /// `check` has the last word on the image. The interpreter of a module gets `memory` bytes of memory at most.
    ///
    /// # Errors
    ///
    /// When it is neither, is damaged, cannot be run, or is refused, or the store cannot be written.
    pub(crate) fn take_runtime(
        &self,
        content: &[u8],
        like: &Image,
        memory: usize,
        check: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<StoredRuntime> {
        let installing = self.root.join("installing");
        let _lock = Lock::exclusive(&installing)?;
        files::remove_temporary(&installing)?;
        let new = files::temporary_directory(&installing)?;
        if content.starts_with(&ZSTANDARD) {
            let path = new.path().join("bundle.tar.zst");
            fs::write(&path, content).map_err(io("write", &path))?;
            let mut bundle = Bundle::open(&path)?;
            let installed =
                self.install(&mut bundle, &installing, MachineCode::Compile, self, &|_| (), check);
            return installed.map(|it| it.runtime).map_err(refused);
        }
        if !content.starts_with(WASM) {
            let reason = "it is neither a bundle nor a WebAssembly module".to_owned();
            return Err(RegistryError::NoRuntime { reason });
        }
        make_image(content, like, memory, new.path())?;
        check(new.path())?;
        let manifest = new.path().join("manifest.json");
        let name = hash(&fs::read(&manifest).map_err(io("read", &manifest))?);
        faasm_image::write_out(new.path()).map_err(io("write out", new.path()))?;
        self.add_runtime(new, name, &installing)
    }
}

/// What is wrong with a bundle, without where this machine has put it.
fn refused(error: RegistryError) -> RegistryError {
    use faasm_bundle::Error;

    let reason = match error {
        RegistryError::Bundle(Error::Damaged { reason, .. }) => format!("the bundle is damaged: {reason}"),
        RegistryError::Bundle(Error::Format { found, .. }) => format!("the bundle has the format {found}"),
        RegistryError::Bundle(Error::Image(error)) => error.to_string(),
        other => return other,
    };
    RegistryError::NoRuntime { reason }
}

/// Makes an empty directory an image of a module, with the library of another image.
fn make_image(wasm: &[u8], like: &Image, memory: usize, directory: &Path) -> Result<()> {
    let no_runtime = |reason: String| RegistryError::NoRuntime { reason };
    let unusable = |error: faasm_image::Error| no_runtime(error.to_string());
    let write = |name: &str, content: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, content).map_err(io("write", &path))
    };
    // It declares how large it is, which is checked before anything is written.
    faasm_image::save_boot_memory(wasm, &directory.join("boot.mem"), memory).map_err(unusable)?;
    write("py_func.wasm", wasm)?;
    write("py_func.cwasm", &faasm_image::compile(wasm, None).map_err(unusable)?)?;
    let root = directory.join("root");
    fs::create_dir(&root).map_err(io("create the directory", &root))?;
    files::link_tree(&like.root(), &root)?;

    let preload = like.manifest().inputs.get("preload").cloned().unwrap_or_default();
    let code = Code::load(&directory.join("py_func.cwasm")).map_err(unusable)?;
    let program = Program::new(&code, host::link_command).map_err(unusable)?;
    let boot = MemoryImage::from_file(&directory.join("boot.mem")).map_err(unusable)?;
    let mut wasi = WasiCtxBuilder::new();
    wasi.preopened_dir(&root, "/", FsPerms::ReadOnly).map_err(|error| no_runtime(error.to_string()))?;
    let names: Vec<&str> = preload.split_whitespace().collect();
    let limits = Limits { memory, deadline: Some(DEADLINE), interrupt: None };
    let host = Host::initialiser(wasi, names.join("\n").into_bytes());
    let mut guest = program.instantiate(&boot, limits, host).map_err(unusable)?;
    let initialised = pollster::block_on(async {
        guest.call::<_, ()>("_initialize", ()).await?;
        guest.call::<_, i32>("faasm_init", ()).await
    });
    if let Some(text) = guest.data_mut().failure() {
        return Err(no_runtime(text.to_owned()));
    }
    match initialised {
        Ok(0) => (),
        Ok(status) => return Err(no_runtime(format!("its initialisation answered {status}"))),
        Err(fault) => return Err(no_runtime(fault.to_string())),
    }
    guest.capture().and_then(|memory| memory.save(&directory.join("base.mem"))).map_err(unusable)?;

    let entry = |name: &str| FileEntry::of(directory, name).map_err(unusable);
    let manifest = Manifest {
        format: FORMAT,
        python: like.manifest().python.clone(),
        wasm: entry("py_func.wasm")?,
        code: CodeEntry::of(directory, "py_func.cwasm", None).map_err(unusable)?,
        boot: entry("boot.mem")?,
        base: entry("base.mem")?,
        inputs: BTreeMap::from([("preload".to_owned(), preload)]),
    };
    manifest.write(directory).map_err(unusable)
}
