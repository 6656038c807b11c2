//! Building packages with C and C++ code for WebAssembly.
//!
//! WASI has no shared libraries, so what makes an extension module elsewhere makes a relocatable object here, and the image is
//! linked with it. The rest is as it is for every other platform: the package's own build backend runs, in an isolated
//! environment ([`environment`]), with a compiler for the target ([`wrapper`]).

mod backend;
mod collect;
mod environment;
mod requirements;
mod rust;
mod source;
mod tags;
mod wheel;
mod wrapper;

pub(super) use backend::BuildSystem;
pub(crate) use collect::init_symbol;
pub(super) use source::only_directory;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use faasm_recipe::Recipe;

use crate::cache::Key;
use crate::command;
use crate::cpython::{self, Native, Wasm};
use crate::error::{Error, Result};
use crate::fs_util;
use crate::packages::{file_name, install, recipes, wheel as unpacked};
use crate::progress::Context;
use crate::toolchain::{self, Cxx, Substitutes, Toolchain};

/// Raised when what is done here changes what it makes.
const RECIPE: &str = "1";

/// What packages are built with.
#[derive(Clone, Debug)]
pub struct Tools {
    pub(crate) toolchain: Toolchain,
    pub(crate) cxx: Cxx,
    pub(crate) substitutes: Substitutes,
    pub(crate) native: Native,
    pub(crate) python: Wasm,
}

impl Tools {
    /// All that is needed for packages besides what every image is built with.
    pub(crate) fn with(cx: &Context, toolchain: Toolchain, native: Native, python: Wasm) -> Result<Self> {
        let cxx = toolchain::cxx(cx, &toolchain)?;
        let substitutes = toolchain::substitutes(cx, &toolchain)?;
        Ok(Self { toolchain, cxx, substitutes, native, python })
    }

    /// The tools, built if they are not in the cache.
    ///
    /// # Errors
    ///
    /// When a source or toolchain cannot be had, or a build fails.
    pub fn new(cx: &Context) -> Result<Self> {
        let toolchain = toolchain::wasi(cx)?;
        let python = cpython::wasm(cx, &toolchain)?;
        let native = cpython::native(cx)?;
        Self::with(cx, toolchain, native, python)
    }
}

/// A package that was built, in the cache.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    directory: PathBuf,
    /// How it was built, which also says which of its tests are a part of it.
    build: faasm_recipe::Build,
    /// What it was made from.
    pub(crate) key: Key,
}

impl Package {
    /// A package that needed no build. `directory` has its files in `site`.
    pub(super) fn unpacked(name: &str, version: &str, directory: PathBuf, key: Key) -> Self {
        let build = faasm_recipe::Build::default();
        Self { name: name.to_owned(), version: version.to_owned(), directory, build, key }
    }

    /// Puts into a directory of modules what programs need of it, or all that it has. A C library has nothing there.
    pub(crate) fn install(&self, site: &Path, whole: bool) -> Result<()> {
        match whole {
            _ if !self.site().is_dir() => Ok(()),
            true => fs_util::link_tree_except(&self.site(), site, &["__pycache__"]),
            false => install::install(&self.site(), site, &self.build),
        }
    }

    /// What it puts into `site-packages`, with its tests and without extension modules.
    pub fn site(&self) -> PathBuf {
        self.directory.join("site")
    }

    /// The dotted names of its extension modules with their relocatable objects, sorted.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn modules(&self) -> Result<Vec<(String, PathBuf)>> {
        let objects = self.directory.join("objects");
        if !objects.is_dir() {
            return Ok(Vec::new());
        }
        let mut modules = Vec::new();
        for path in fs_util::entries(&objects)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            modules.push((name, path));
        }
        modules.sort();
        Ok(modules)
    }

    /// What can be imported of it without naming a module within another one: what it has at the top of `site-packages`, sorted.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read.
    pub fn top_level(&self) -> Result<Vec<String>> {
        let mut names =
            if self.site().is_dir() { collect::top_level(&self.site())? } else { BTreeSet::new() };
        let modules = self.modules()?;
        names.extend(modules.iter().filter_map(|(name, _)| Some(name.split('.').next()?.to_owned())));
        Ok(names.into_iter().collect())
    }

    /// What it adds to an image.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub fn size(&self) -> Result<Size> {
        let site = self.site();
        let files = if site.is_dir() { install::size(&site, &self.build)? } else { 0 };
        let mut code = 0;
        for (_, object) in self.modules()? {
            let bytes = fs::read(&object).map_err(Error::io("read", &object))?;
            code += faasm_wasm_link::object::size(&bytes).map_err(|error| Error::Package {
                package: self.name.clone(),
                reason: format!("failed to {error} of {}", object.display()),
            })?;
        }
        Ok(Size { files, code })
    }

    /// A C library's archives, which the image is linked with once.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn libraries(&self) -> Result<Vec<PathBuf>> {
        let directory = self.directory.join("host/lib");
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let mut paths = fs_util::entries(&directory)?;
        paths.retain(|path| path.extension().is_some_and(|it| it == "a"));
        Ok(paths)
    }
}

/// How much an image becomes larger by a package, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Files, without tests, type stubs and what else no program reads.
    pub files: u64,
    /// Code and data of extension modules, in WebAssembly. C libraries come to that.
    pub code: u64,
}

/// Builds a recipe, which lies in `folder`, with packages that it says to need when it is built.
///
/// # Errors
///
/// When the source cannot be had or its build fails.
pub fn build(
    cx: &Context,
    tools: &Tools,
    recipe: &Recipe,
    folder: &Path,
    host: &[Package],
) -> Result<Package> {
    let (name, version) = (&recipe.package.name, &recipe.package.version);
    let key = key(tools, recipe, folder, host)?;
    let step = format!("package {name}-{version}");
    let directory = cx.entry("package", &format!("{name}-{version}"), &key, |directory| {
        let work = directory.join("work");
        fs::create_dir(&work).map_err(Error::io("create the directory", &work))?;
        let log = command::new_log(cx, &step)?;
        let source = work.join("source");
        let job = Job { cx, step: &step, log: &log, tools, recipe, host, source: &source, work: &work };
        if let Some((wheel, name)) = source::wheel(cx, recipe, folder)? {
            job.wheel(&wheel, &name, directory)?;
            return fs::remove_dir_all(&work).map_err(Error::io("remove", &work));
        }
        let source = source::prepare(cx, &step, &log, recipe, folder, &source)?;
        let job = Job { source: &source, ..job };
        let built = if recipe.build.package_type.is_library() {
            job.library(directory)
        } else {
            job.package(directory)
        };
        if built.is_err() {
            // They are about to be removed with all the rest.
            append_logs(&work, &log)?;
        }
        built?;
        fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
    })?;
    Ok(Package { name: name.clone(), version: version.clone(), directory, build: recipe.build.clone(), key })
}

/// Unpacks and patches the source of a recipe, which lies in `folder`.
pub(super) fn unpack_source(cx: &Context, recipe: &Recipe, folder: &Path, into: &Path) -> Result<PathBuf> {
    let step = format!("source {}-{}", recipe.package.name, recipe.package.version);
    let log = command::new_log(cx, &step)?;
    source::prepare(cx, &step, &log, recipe, folder, into)
}

/// Everything that the result depends on. What the backend is made of is decided by a date, so that it is known beforehand.
fn key(tools: &Tools, recipe: &Recipe, folder: &Path, host: &[Package]) -> Result<Key> {
    let mut key = Key::new()
        .value("recipe", RECIPE)
        .value("backend as of", requirements::AS_OF)
        .value("wrapper", wrapper::key().hex())
        .value("python", tools.python.key.hex())
        .value("c++", tools.cxx.key.hex())
        .value("substitutes", tools.substitutes.key.hex())
        .value("package", format!("{} {}", recipe.package.name, recipe.package.version))
        .value("source", format!("{:?}", recipe.source))
        .value("build", format!("{:?}", recipe.build))
        .value("constraints", recipe.requirements.constraint.join(" "));
    if rust::is_needed(recipe) {
        key = rust::key(key)?;
    }
    for package in host {
        // What is taken of a C library and of a Python package is not the same.
        let kind = if package.site().is_dir() { "host package" } else { "host" };
        key = key.value(&format!("{kind} {}", package.name), package.key.hex());
    }
    recipes::with_files(key, folder, recipe)
}

/// Appends to a log what configuration tools have written to theirs, which says more than what they print.
fn append_logs(directory: &Path, log: &Path) -> Result<()> {
    const NAMES: [&str; 4] = ["CMakeConfigureLog.yaml", "CMakeError.log", "config.log", "meson-log.txt"];
    for entry in fs::read_dir(directory).map_err(Error::io("read the directory", directory))? {
        let entry = entry.map_err(Error::io("read the directory", directory))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            append_logs(&path, log)?;
        } else if NAMES.iter().any(|it| entry.file_name() == *it) {
            let append = || {
                let mut output = fs::OpenOptions::new().append(true).open(log)?;
                writeln!(output, "=== {}", path.display())?;
                std::io::copy(&mut fs::File::open(&path)?, &mut output)
            };
            append().map_err(Error::io("write to the log", log))?;
        }
    }
    Ok(())
}

/// A build that is under way.
#[derive(Clone, Copy)]
struct Job<'a> {
    cx: &'a Context,
    step: &'a str,
    log: &'a Path,
    tools: &'a Tools,
    recipe: &'a Recipe,
    host: &'a [Package],
    source: &'a Path,
    work: &'a Path,
}

impl Job<'_> {
    /// Builds a Python package: `site` and `objects` in `directory`.
    fn package(&self, directory: &Path) -> Result<()> {
        let environment = self.environment()?;
        let build = &self.recipe.build;
        self.script(&environment, &build.script, self.source, &[])?;
        let wheels = self.work.join("wheels");
        fs::create_dir(&wheels).map_err(Error::io("create the directory", &wheels))?;
        let settings: Vec<(String, String)> =
            build.config_settings().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        // What has headers or libraries of another package is to be built with the version that the image has.
        let same = |it: &Package| it.site().is_dir().then(|| format!("{}=={}", it.name, it.version));
        let constraints: Vec<String> = self
            .recipe
            .requirements
            .constraint
            .iter()
            .cloned()
            .chain(self.host.iter().filter_map(same))
            .collect();
        let backend = backend::Build {
            cx: self.cx,
            step: self.step,
            log: self.log,
            source: self.source,
            environment: &environment,
            package: &self.recipe.package.name,
            rust: rust::is_needed(self.recipe),
            host: self.host,
            constraints: &constraints,
            settings: &settings,
        };
        let (wheel, made_of) = backend.wheel(&wheels)?;
        // Programs for the entry points of packages have no place in a sandbox.
        let (site, programs) = (directory.join("site"), self.work.join("programs"));
        for path in [&site, &programs] {
            fs::create_dir(path).map_err(Error::io("create the directory", path))?;
        }
        wheel::install(&wheel, &site, &programs, &environment.python())?;
        self.script(&environment, &build.post, &site, &[])?;
        let modules = collect::collect(&self.recipe.package.name, &site, &directory.join("objects"))?;
        let made_of: Vec<String> = made_of
            .iter()
            .map(|wheel| format!("{}=={} sha256:{}\n", wheel.name, wheel.version, wheel.sha256))
            .collect();
        let path = directory.join("built-with.txt");
        fs::write(&path, made_of.concat()).map_err(Error::io("write", &path))?;
        self.cx.message(self.step, format!("{} extension modules", modules.len()));
        Ok(())
    }

    /// Unpacks a wheel that needs no build: one in pure Python, or one with modules that were built by this crate.
    fn wheel(&self, wheel: &Path, name: &str, directory: &Path) -> Result<()> {
        if !file_name::is_for_images(name) {
            let reason = format!("{name} is a wheel for another Python or platform");
            return Err(Error::Package { package: self.recipe.package.name.clone(), reason });
        }
        let site = directory.join("site");
        unpacked::install(wheel, &site)?;
        if !self.recipe.build.post.trim().is_empty() {
            self.script(&self.environment()?, &self.recipe.build.post, &site, &[])?;
        }
        let modules = collect::collect(&self.recipe.package.name, &site, &directory.join("objects"))?;
        self.cx.message(self.step, format!("{} extension modules", modules.len()));
        Ok(())
    }

    /// Builds a C library: `host/lib` and `host/include` in `directory`.
    fn library(&self, directory: &Path) -> Result<()> {
        let environment = self.environment()?;
        let host = directory.join("host");
        for part in ["include", "lib/pkgconfig"] {
            let path = host.join(part);
            fs::create_dir_all(&path).map_err(Error::io("create the directory", &path))?;
        }
        let place = host.to_string_lossy().into_owned();
        let jobs = self.cx.jobs.to_string();
        self.cx.message(self.step, "compiling");
        self.script(
            &environment,
            &self.recipe.build.script,
            self.source,
            &[("WASM_LIBRARY_DIR", &place), ("PREFIX", &place), ("PYODIDE_JOBS", &jobs)],
        )
    }

    fn environment(&self) -> Result<environment::Environment> {
        let build = &self.recipe.build;
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let flags = environment::Flags {
            c: words(&build.cflags),
            cxx: words(&build.cxxflags),
            link: words(&build.ldflags),
            host: self.host.iter().map(|it| it.directory.join("host")).filter(|it| it.is_dir()).collect(),
        };
        let root = self.work.join("environment");
        let mut environment = environment::Environment::new(self.cx, self.tools, &flags, &root)?;
        if rust::is_needed(self.recipe) {
            rust::check()?;
            environment.set(rust::variables(self.cx, &root)?);
        }
        Ok(environment)
    }

    /// Runs a script of the recipe, if it has one.
    fn script(
        &self,
        environment: &environment::Environment,
        script: &str,
        directory: &Path,
        variables: &[(&str, &str)],
    ) -> Result<()> {
        if script.trim().is_empty() {
            return Ok(());
        }
        let mut shell = environment.command("sh");
        shell.args(["-e", "-c", script]).current_dir(directory).envs(variables.iter().copied());
        command::run(self.step, self.log, &mut shell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_tools_outlive_a_failed_build() {
        let directory = tempfile::tempdir().unwrap();
        let (work, log) = (directory.path().join("work"), directory.path().join("log"));
        fs::create_dir_all(work.join("build/meson-logs")).unwrap();
        fs::write(work.join("build/meson-logs/meson-log.txt"), "the reason\n").unwrap();
        fs::write(work.join("build/other.txt"), "nothing\n").unwrap();
        fs::write(&log, "failed\n").unwrap();
        append_logs(&work, &log).unwrap();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("failed\n=== ") && text.ends_with("meson-log.txt\nthe reason\n"), "{text}");
    }
}
