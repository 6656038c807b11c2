//! The Cargo package that a command is called in, and building its image through Cargo.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cargo_metadata::{Message, MetadataCommand, PackageId};
use cargo_util::{ProcessBuilder, ProcessError};
use faasm_build_support::progress::PROGRESS_VARIABLE;

use crate::cli::Global;
use crate::error::{Exit, Failure, input};
use crate::progress::{Follower, Steps};
use crate::shell;

/// Cargo's flag for a `Cargo.lock` that must not change.
pub(crate) const LOCKED: &str = "--locked";

/// Where a command is called.
pub(crate) enum Place {
    /// In a package that depends on `py_func` and has an image made.
    Package(Package),
    /// In another package or workspace, with this target directory.
    Workspace(PathBuf),
    /// Below no `Cargo.toml`.
    Nowhere,
}

/// A package that depends on `py_func`.
pub(crate) struct Package {
    name: String,
    version: String,
    id: PackageId,
    manifest: PathBuf,
    target_directory: PathBuf,
}

/// Finds out where a command is called.
pub(crate) fn locate(global: &Global) -> anyhow::Result<Place> {
    let current = env::current_dir().context("failed to find the current directory")?;
    if !current.ancestors().any(|directory| directory.join("Cargo.toml").is_file()) {
        return Ok(Place::Nowhere);
    }
    let mut command = MetadataCommand::new();
    command.cargo_path(cargo()).no_deps();
    if global.offline {
        command.other_options(["--offline".to_owned()]);
    }
    let metadata = command.exec().map_err(|error| {
        let message = match &error {
            cargo_metadata::Error::CargoMetadata { stderr } => {
                stderr.trim().trim_start_matches("error: ").to_owned()
            }
            other => other.to_string(),
        };
        input(format!("failed to read the package in the current directory: {message}"))
            .hint("name an image with --image to do without the package")
    })?;

    let directory = |package: &cargo_metadata::Package| {
        package.manifest_path.parent().map(|it| it.as_std_path().to_path_buf())
    };
    let around =
        metadata.packages.iter().filter(|it| directory(it).is_some_and(|it| current.starts_with(it)));
    let nearest = around.max_by_key(|it| directory(it).map(|it| it.components().count()));
    let target_directory = metadata.target_directory.clone().into_std_path_buf();
    Ok(match nearest.filter(|package| may_make_image(package)) {
        Some(package) => Place::Package(Package {
            name: package.name.to_string(),
            version: package.version.to_string(),
            id: package.id.clone(),
            manifest: package.manifest_path.clone().into_std_path_buf(),
            target_directory,
        }),
        None => Place::Workspace(target_directory),
    })
}

/// Whether a package depends on `py_func` and has an image made, by its own build script or that of `py_func`.
fn may_make_image(package: &cargo_metadata::Package) -> bool {
    let has_script = package.targets.iter().any(cargo_metadata::Target::is_custom_build);
    let mut dependencies = package.dependencies.iter().filter(|it| it.name == "py_func");
    dependencies
        .any(|it| has_script || it.uses_default_features || it.features.iter().any(|name| name == "image"))
}

impl Package {
    /// The directory with its `Cargo.toml`.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new("."))
    }

    /// Its version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Where the image is laid out by a build with these arguments.
    pub(crate) fn layout(&self, arguments: &[String]) -> PathBuf {
        let mut words = arguments.iter();
        let mut target_directory = self.target_directory.clone();
        while let Some(word) = words.next() {
            match word.strip_prefix("--target-dir") {
                Some("") => target_directory = words.next().map_or(target_directory, PathBuf::from),
                Some(rest) => {
                    target_directory = rest.strip_prefix('=').map_or(target_directory, PathBuf::from);
                }
                None => {}
            }
        }
        target_directory.join("faasm")
    }

    /// Runs `cargo build` with further arguments and answers the image that a build script made.
    pub(crate) fn build(
        &self,
        global: &Global,
        steps: &Steps,
        arguments: &[String],
    ) -> anyhow::Result<PathBuf> {
        let follower = Follower::start(steps).context("failed to follow the build")?;
        let mut command = ProcessBuilder::new(cargo());
        command.args(&["build", "--message-format=json-render-diagnostics", "--package", &self.name]);
        command.arg("--manifest-path").arg(&self.manifest).args(arguments);
        command.env(PROGRESS_VARIABLE, follower.path());
        // Its bar would fight with those of the steps; its lines pass through a pipe.
        command.env("CARGO_TERM_PROGRESS_WHEN", "never");
        command.env("CARGO_TERM_COLOR", if shell::has_color() { "always" } else { "never" });
        for (given, argument) in
            [(global.quiet, "--quiet"), (global.verbose, "--verbose"), (global.offline, "--offline")]
        {
            if given {
                command.arg(argument);
            }
        }
        // What build scripts are told by it, which Cargo's own flags do not do.
        let given = |flags: &[&str]| arguments.iter().any(|it| flags.contains(&it.as_str()));
        if global.offline || given(&["--offline", "--frozen"]) {
            command.env("FAASM_OFFLINE", "true");
        }
        if given(&[LOCKED, "--frozen"]) {
            command.env("FAASM_LOCKED", "true");
        }

        let mut found = None;
        let mut on_message = |line: &str| {
            if let Ok(Message::BuildScriptExecuted(script)) = serde_json::from_str(line)
                && let Some((_, image)) = script.env.into_iter().find(|(name, _)| name == "FAASM_IMAGE")
                // The package's own image goes before that of `py_func`.
                && (found.is_none() || script.package_id == self.id)
            {
                found = Some(PathBuf::from(image));
            }
            Ok(())
        };
        let mut on_line = |line: &str| {
            steps.line(line);
            Ok(())
        };
        let result = command.exec_with_streaming(&mut on_message, &mut on_line, false);
        drop(follower);
        result.map_err(|error| match error.downcast_ref::<ProcessError>() {
            // Cargo has said what was wrong.
            Some(process) if process.code.is_some() => {
                Failure::new(Exit::Environment, format!("failed to build the package `{}`", self.name)).into()
            }
            _ => error.context("failed to run Cargo"),
        })?;
        found.ok_or_else(|| {
            input(format!("the package `{}` depends on `py_func`, but neither makes an image", self.name))
                .hint(
                    "add a build script whose main is `faasm_build_support::Image::from_manifest()?.build()?.emit(); Ok(())`, \
                     or enable the feature `image` of py_func",
                )
                .into()
        })
    }
}

/// The Cargo that called this program, else the one on `PATH`.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| Path::new("cargo").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_follows_the_target_directory() {
        let package = Package {
            name: "p".to_owned(),
            version: "0.1.0".to_owned(),
            id: PackageId { repr: "p".to_owned() },
            manifest: PathBuf::from("/p/Cargo.toml"),
            target_directory: PathBuf::from("/p/target"),
        };
        for (arguments, expected) in [
            ("--release", "/p/target/faasm"),
            ("--release --target-dir /x --features a", "/x/faasm"),
            ("--target-dir=/y", "/y/faasm"),
        ] {
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            assert_eq!(package.layout(&arguments), Path::new(expected));
        }
    }
}
