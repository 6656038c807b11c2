//! Machine code: how it is made, loaded and entered. Only this module and its children know that wasmtime does it, so
//! that a second backend fits in beside it.

mod bulk;
mod cpu;
mod fault;
mod guest;
mod idle;
mod poll;
mod strip;
mod written;

use std::{collections::HashMap, path::Path, sync::Arc, sync::OnceLock};

use wasmtime::{ExternType, InstancePre, Linker, Module, ModuleExport, Mutability};

pub use fault::Fault;
pub use guest::{Guest, Limits, Spent, Stopper};

use crate::{Error, Result, engine};

/// The name of this way to make and run machine code, as it is written into manifests.
pub(crate) const BACKEND: &str = "cranelift";

/// Compiles a WebAssembly module to machine code that [`Code::load`] takes.
///
/// Without a target, the code is for exactly this machine's processor and uses all its features; with a target triple,
/// for the baseline of that architecture; with a triple of x86-64 and a level, such as `x86_64-unknown-linux-gnu+v3`, for
/// processors of that level and above. The module's data segments are left out: [`boot_memory`](crate::boot_memory)
/// has their content.
///
/// Fails if the module has state besides its memory that an image would lose: table contents that code changes,
/// globals that are written and not exported, a start function, passive segments.
pub fn compile(wasm: &[u8], target: Option<&str>) -> Result<Vec<u8>> {
    let stripped = strip::strip(wasm)?;
    engine::compiler(target)?.precompile_module(&stripped).map_err(Error::Compile)
}

/// Machine code, loaded. Clones share it.
#[derive(Clone)]
pub struct Code(Module);

impl Code {
    /// Maps a file that [`compile`] made.
    ///
    /// The file is trusted as a program or a shared library is: whoever can write it decides what this process does.
    /// It must not be changed in place while it is used. Code for another engine version, for other engine settings
    /// or for a processor with features this one lacks is refused.
    pub fn load(path: &Path) -> Result<Code> {
        let engine = engine::engine()?;
        // A file that isn't there is no incompatible file.
        std::fs::File::open(path).map_err(Error::io("open", path))?;
        load_trusted(engine, path).map(Code).map_err(|source| Error::Load { path: path.to_owned(), source })
    }
}

#[expect(unsafe_code, reason = "machine code is loaded")]
fn load_trusted(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: The function is unsafe because the file's content is executed and because it stays mapped. The first is
    // what loading code means, and `Code::load` says whom to trust; that the file was made by this engine version with
    // these settings is checked by the engine before it believes anything else in it. As to the second, this crate and
    // the build library replace files by renaming, and `Code::load` asks the same of everyone else.
    unsafe { Module::deserialize_file(engine, path) }
}

/// Machine code linked with the host's functions: everything about a guest that its sandboxes share. `T` is what the
/// host's functions find in their caller, one value for each sandbox. Clones share the program.
pub struct Program<T: 'static>(Arc<Linked<T>>);

impl<T: 'static> Clone for Program<T> {
    fn clone(&self) -> Self {
        Program(Arc::clone(&self.0))
    }
}

struct Linked<T: 'static> {
    instance: InstancePre<T>,
    memory: ModuleExport,
    /// Exports by name. Looking a name up here is several times faster than in the engine.
    exports: HashMap<String, ModuleExport>,
    /// Exported globals that code can write.
    globals: Vec<(String, ModuleExport)>,
    /// The bits of `globals` in a fresh instance, once there was one.
    initial_globals: OnceLock<Vec<u64>>,
    idle: idle::Idle<Box<guest::Sandbox<T>>>,
}

impl<T: 'static> Program<T> {
    /// Links code with the functions that `link` defines.
    pub fn new(code: &Code, link: impl FnOnce(&mut Linker<T>) -> wasmtime::Result<()>) -> Result<Program<T>> {
        let module = &code.0;
        let mut linker = Linker::new(module.engine());
        link(&mut linker).map_err(Error::Link)?;
        let instance = linker.instantiate_pre(module).map_err(Error::Link)?;

        let memory = module
            .get_export_index("memory")
            .ok_or_else(|| Error::Unsuitable("it does not export its memory as `memory`".to_owned()))?;
        let mut exports = HashMap::new();
        let mut globals = Vec::new();
        for export in module.exports() {
            let Some(index) = module.get_export_index(export.name()) else { continue };
            exports.insert(export.name().to_owned(), index);
            if let ExternType::Global(ty) = export.ty()
                && ty.mutability() == Mutability::Var
            {
                globals.push((export.name().to_owned(), index));
            }
        }
        Ok(Program(Arc::new(Linked {
            instance,
            memory,
            exports,
            globals,
            initial_globals: OnceLock::new(),
            idle: idle::Idle::default(),
        })))
    }

    /// Whether the guest exports something by this name.
    pub fn has_export(&self, name: &str) -> bool {
        self.0.exports.contains_key(name)
    }
}
