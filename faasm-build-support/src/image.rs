//! The builder: from nothing to an image.

mod initialise;
pub(crate) mod manifest;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use faasm_image::{CodeEntry, FileEntry, Manifest};
use faasm_recipe::Requirement;

use crate::cache::{self, Key};
use crate::cpython;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::link::{self, Extensions, GuestSources};
use crate::packages::build::Tools;
use crate::packages::lock::{self, Locked};
use crate::packages::{Hashes, Project, Recipes, select};
use crate::progress::Context;
use crate::script;
use crate::toolchain;

const RECIPE: &str = "4";

/// An image that is about to be built.
///
/// ```no_run
/// // build.rs
/// fn main() -> Result<(), faasm_build_support::Error> {
///     faasm_build_support::Image::from_manifest()?.preload(["json"]).build()?.emit();
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is built before `build` is called"]
pub struct Image {
    guest: GuestSources,
    packages: Vec<String>,
    /// What files of packages may be like, by the packages' names.
    hashes: BTreeMap<String, Hashes>,
    recipe_folders: Vec<PathBuf>,
    /// Normalised names.
    whole_packages: Vec<String>,
    /// Where the lock file is. Without one, versions are chosen for each build.
    lock_directory: Option<PathBuf>,
    preload: Vec<String>,
    watched: Vec<PathBuf>,
}

impl Image {
    /// An image with a guest of these sources, and nothing preloaded.
    pub fn new(guest: GuestSources) -> Self {
        Self {
            guest,
            packages: Vec::new(),
            hashes: BTreeMap::new(),
            recipe_folders: Vec::new(),
            whole_packages: Vec::new(),
            lock_directory: None,
            preload: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// For build scripts: an image as `[package.metadata.faasm]` in the `Cargo.toml` of the package describes it, with the guest
    /// of `py_func`, on which the package must depend.
    ///
    /// # Errors
    ///
    /// When this does not run in a build script, the manifest says something that cannot be used, or the package does not depend
    /// on `py_func`.
    pub fn from_manifest() -> Result<Self> {
        let package = script::package()?;
        let settings = manifest::read(&package.join("Cargo.toml"))?;
        let guest = script::guest_package(&package)?;
        let project = Project::read(&package)?;
        let mut watched = vec![guest.join("guest"), guest.join("python")];
        // What is watched and not there would have Cargo run the script each time, and without packages there is no lock file.
        if !project.requirements.is_empty() {
            watched.push(package.join(lock::FILE_NAME));
        }
        watched.extend(project.recipe_folders.iter().chain(&project.files).cloned());
        Ok(Self {
            guest: GuestSources::read(&guest)?,
            packages: project.requirements.iter().map(ToString::to_string).collect(),
            hashes: project.hashes,
            recipe_folders: project.recipe_folders,
            whole_packages: Vec::new(),
            lock_directory: Some(package),
            preload: settings.preload,
            watched,
        })
    }

    /// Python packages that functions can import: PEP 508 requirements such as `numpy` or `numpy>=2.4`.
    pub fn packages<S: Into<String>>(mut self, requirements: impl IntoIterator<Item = S>) -> Self {
        self.packages.extend(requirements.into_iter().map(Into::into));
        self
    }

    /// Folders with further recipes, each a folder with the package's name. They go before those that this crate brings.
    pub fn recipe_folders<P: Into<PathBuf>>(mut self, folders: impl IntoIterator<Item = P>) -> Self {
        let folders: Vec<PathBuf> = folders.into_iter().map(Into::into).collect();
        self.watched.extend(folders.iter().cloned());
        self.recipe_folders.extend(folders);
        self
    }

    /// Packages of which the image is to have everything, their tests above all. Others are without what no program needs.
    pub fn whole_packages<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        let normalized = |name: S| faasm_recipe::normalized(name.as_ref()).unwrap_or_default();
        self.whole_packages.extend(names.into_iter().map(normalized));
        self
    }

    /// Modules to import before the image is taken, so that no call has to.
    pub fn preload<S: Into<String>>(mut self, modules: impl IntoIterator<Item = S>) -> Self {
        self.preload.extend(modules.into_iter().map(Into::into));
        self
    }

    /// Builds the image, with what the environment says about cache and network; see [`Context::from_env`]. What is in the
    /// cache is not built again. In a build script the image is laid out in `OUT_DIR`, so that a build does not depend on the
    /// cache once it is done.
    ///
    /// # Errors
    ///
    /// When a step fails; see [`Error`].
    pub fn build(self) -> Result<Built> {
        let mut built = self.build_in(&Context::from_env()?)?;
        if let Some(out) = env::var_os("OUT_DIR") {
            let directory = Path::new(&out).join("faasm-image");
            built.lay_out(&directory)?;
            built.directory = directory;
        }
        Ok(built)
    }

    /// Builds the image in the cache of `cx`.
    ///
    /// # Errors
    ///
    /// When a step fails; see [`Error`].
    pub fn build_in(self, cx: &Context) -> Result<Built> {
        let toolchain = toolchain::wasi(cx)?;
        let python = cpython::wasm(cx, &toolchain)?;
        let native = cpython::native(cx)?;
        let stdlib = cpython::stdlib(cx, &native, &python)?;
        let recipes = Recipes::load(cx, &self.recipe_folders)?;
        let locked = self.lock(cx, &recipes)?;
        let mut packages = select::wheels(cx, &locked)?;
        let linked = if locked.len() == packages.len() {
            link::link(cx, &toolchain, &python, &self.guest, None)?
        } else {
            let tools = Tools::with(cx, toolchain.clone(), native.clone(), python.clone())?;
            packages.extend(select::built(cx, &tools, &recipes, &locked)?);
            let extensions = Extensions { packages: &packages, tools: &tools };
            link::link(cx, &toolchain, &python, &self.guest, Some(&extensions))?
        };

        let settings = faasm_image::fingerprint(None).map_err(image_error("set up the engine"))?;
        let code_key = Key::new()
            .file("wasm", &linked.wasm)?
            .value("engine", faasm_image::ENGINE_VERSION)
            .value("settings", &settings);
        let code = cx.entry("image", "code", &code_key, |directory| {
            let wasm = fs::read(&linked.wasm).map_err(Error::io("read", &linked.wasm))?;
            let code = faasm_image::compile(&wasm, None)
                .map_err(image_error("compile the guest to machine code"))?;
            write(&directory.join(CODE), &code)
        })?;

        let mut key = Key::new()
            .value("recipe", RECIPE)
            .value("link", linked.key.hex())
            .value("code", code_key.hex())
            .value("stdlib", stdlib.key.hex())
            .value("preload", self.preload.join(" "));
        for (name, content) in &self.guest.python {
            key = key.content(name, content);
        }
        for package in &packages {
            key = key.value(&format!("package {}", package.name), package.key.hex());
            // The manifest names it.
            key = key.value(&format!("version {}", package.name), &package.version);
        }
        if !self.whole_packages.is_empty() {
            key = key.value("whole", self.whole_packages.join(" "));
        }
        let directory = cx.entry("image", "base", &key, |directory| {
            let root = directory.join("root");
            fs_util::link_tree_except(&stdlib.root, &root, &[])?;
            let site = root.join(cpython::library_path()).join("site-packages");
            for package in &packages {
                let normalized = faasm_recipe::normalized(&package.name);
                let whole = normalized.is_some_and(|name| self.whole_packages.contains(&name));
                package.install(&site, whole)?;
            }
            link::write_tree(&site, &self.guest.python)?;
            cpython::byte_compile(cx, &native, &root, &site, false)?;

            fs_util::link_or_copy(&code.join(CODE), &directory.join(CODE))?;
            fs_util::link_or_copy(&linked.wasm, &directory.join(WASM))?;
            let wasm = fs::read(&linked.wasm).map_err(Error::io("read", &linked.wasm))?;
            let boot = faasm_image::boot_memory(&wasm)
                .map_err(image_error("read the initial memory of the guest"))?;
            write(&directory.join(BOOT), &boot)?;
            cx.message("image base", "starting the interpreter");
            initialise::initialise(directory, &self.preload)?;

            let describe = |name| FileEntry::of(directory, name).map_err(image_error("describe the image"));
            let manifest = Manifest {
                format: faasm_image::FORMAT,
                python: cpython::VERSION.to_owned(),
                wasm: describe(WASM)?,
                code: CodeEntry::of(directory, CODE, None).map_err(image_error("describe the image"))?,
                boot: describe(BOOT)?,
                base: describe(BASE)?,
                inputs: [
                    ("toolchain", toolchain.identity()),
                    ("cpython", &python.key.hex()),
                    ("stdlib", &stdlib.key.hex()),
                    ("guest", &linked.key.hex()),
                    ("preload", &self.preload.join(" ")),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .chain(packages.iter().map(|it| (format!("{PACKAGE}{}", it.name), it.version.clone())))
                .collect(),
            };
            manifest.write(directory).map_err(image_error("write the manifest of the image"))?;
            age(&directory.join(MANIFEST))
        })?;
        Ok(Built { directory, watched: self.watched })
    }
}

impl Image {
    /// The packages that the image is to have, with all that they require.
    fn lock(&self, cx: &Context, recipes: &Recipes) -> Result<Vec<Locked>> {
        let requirements =
            self.packages.iter().map(|it| it.parse()).collect::<Result<Vec<Requirement>, _>>()?;
        match &self.lock_directory {
            Some(directory) => {
                let mode = lock::Mode::from_env()?;
                lock::read_or_resolve(cx, directory, recipes, &requirements, &self.hashes, &mode)
            }
            None => lock::resolve(cx, recipes, &requirements),
        }
    }
}

/// Gives a file a time long ago. Cargo watches the manifest, to notice when it is gone, and would take one that a build script has
/// just made for one that has changed since.
fn age(path: &Path) -> Result<()> {
    let file = fs::File::options().append(true).open(path);
    file.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        .map_err(Error::io("set the time of", path))
}

/// What the names of packages among an image's inputs begin with. The value is the version.
pub(crate) const PACKAGE: &str = "package ";

const MANIFEST: &str = "manifest.json";
const WASM: &str = "py_func.wasm";
const CODE: &str = "py_func.cwasm";
const BOOT: &str = "boot.mem";
const BASE: &str = "base.mem";

/// An image that was built.
#[derive(Clone, Debug)]
pub struct Built {
    directory: PathBuf,
    watched: Vec<PathBuf>,
}

impl Built {
    /// The image's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes `directory` a copy of the image. Files are linked where the file system can do that.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written. Then it is as it was, or gone.
    pub fn lay_out(&self, directory: &Path) -> Result<()> {
        fs_util::replace_directory(directory, |new| {
            fs_util::link_tree_except(&self.directory, new, &cache::OWN_FILES)
        })
    }

    /// Tells Cargo when to run the build script again, and the crate (as `env!("FAASM_IMAGE")`) and its dependents where the
    /// image is.
    pub fn emit(&self) {
        script::emit(&self.directory, &self.watched);
    }
}

fn image_error<E: std::error::Error + Send + Sync + 'static>(
    action: &'static str,
) -> impl FnOnce(E) -> Error {
    move |source| Error::Image { action, source: Box::new(source) }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(Error::io("write", path))
}
