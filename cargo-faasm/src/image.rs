//! Which image a command uses.

use std::path::{Path, PathBuf};

use faasm_build_support::cache::Cache;
use faasm_build_support::{Context, GuestSources, Image};
use py_func::{GUEST_SOURCES, PYTHON_SOURCES, Registry, StoredRuntime};

use crate::cli::{self, Format, Global};
use crate::error::input;
use crate::layout;
use crate::package::{self, Place};
use crate::progress::Steps;
use crate::shell::Shell;

/// An image to use.
pub(crate) struct Selected {
    pub(crate) directory: PathBuf,
    /// Keeps the cache or the store from removing the image while it is used.
    _in_use: Option<InUse>,
}

enum InUse {
    Cache(#[expect(dead_code, reason = "it has a lock")] Cache),
    Store(#[expect(dead_code, reason = "it has a lock")] StoredRuntime),
}

impl Selected {
    fn outside_cache(directory: PathBuf) -> Self {
        Self { directory, _in_use: None }
    }
}

/// The image that was named, else that of the package, else the store's runtime if there is a `store` to ask, else the default
/// one. That of a package and the default one are built, which takes no time when nothing has changed.
pub(crate) fn select(
    shell: Shell,
    global: &Global,
    named: &cli::Image,
    store: Option<&Registry>,
) -> anyhow::Result<Selected> {
    if let Some(directory) = &named.directory {
        if !directory.is_dir() {
            return Err(input(format!("there is no image directory `{}`", directory.display()))
                .hint("`cargo faasm build` prints the directory of the image it builds")
                .into());
        }
        return Ok(Selected::outside_cache(directory.clone()));
    }
    // A build on the way to a result is for people to see; the result is what is written as JSON.
    let steps = Steps::new(shell, Format::Human);
    let place = package::locate(global)?;
    if !matches!(place, Place::Package(_))
        && let Some(store) = store
        && let Some(runtime) = store.runtime()?
    {
        let directory = runtime.image.clone();
        return Ok(Selected { directory, _in_use: Some(InUse::Store(runtime)) });
    }
    match place {
        Place::Package(package) => build_package(&package, global, &steps, &[]),
        Place::Workspace(_) | Place::Nowhere => build_default(global, &steps),
    }
}

/// Builds the image of a package and lays it out under its target directory.
pub(crate) fn build_package(
    package: &package::Package,
    global: &Global,
    steps: &Steps,
    arguments: &[String],
) -> anyhow::Result<Selected> {
    let image = package.build(global, steps, arguments)?;
    let directory = package.layout(arguments);
    layout::lay_out(&image, &directory)?;
    Ok(Selected::outside_cache(directory))
}

/// Builds the default image in the cache.
pub(crate) fn build_default(global: &Global, steps: &Steps) -> anyhow::Result<Selected> {
    let cx = context(global, steps)?;
    let built = Image::new(own_guest()).build_in(&cx)?;
    Ok(Selected { directory: built.directory().to_path_buf(), _in_use: Some(InUse::Cache(cx.cache)) })
}

/// The sources of the guest that this program has in it.
pub(crate) fn own_guest() -> GuestSources {
    let own = |files: &[(&str, &str)]| {
        files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect()
    };
    GuestSources { c: own(GUEST_SOURCES), python: own(PYTHON_SOURCES) }
}

/// What builds within this program are given.
pub(crate) fn context(global: &Global, steps: &Steps) -> anyhow::Result<Context> {
    let mut cx = Context::from_env()?;
    cx.offline |= global.offline;
    cx.progress = steps.progress();
    Ok(cx)
}

/// Where the default image is laid out when it is built in a workspace.
pub(crate) fn workspace_layout(target_directory: &Path) -> PathBuf {
    target_directory.join("faasm")
}
