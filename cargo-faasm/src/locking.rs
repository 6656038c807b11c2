//! Bringing `faasm.lock` up to date, and what has changed in it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use faasm_build_support::packages::Project;
use faasm_build_support::packages::lock::{self, Locked, Mode, Source};
use serde_json::{Value, json};

use crate::cli::{Format, Global};
use crate::error::input;
use crate::image;
use crate::package::{self, Place};
use crate::progress::Steps;
use crate::shell::{self, Shell};

/// The directory of the package that a command about Python packages is called in.
pub(crate) fn directory(global: &Global) -> anyhow::Result<PathBuf> {
    match package::locate(global)? {
        Place::Package(package) => Ok(package.directory().to_path_buf()),
        Place::Workspace(_) | Place::Nowhere => {
            Err(input("this is not in a package that depends on `py_func`")
                .hint("`cargo faasm new NAME` makes such a package")
                .into())
        }
    }
}

/// Waits until no other command changes the packages of a package, and holds others up until it is dropped. The directory is what is
/// locked, since the files in it are replaced. Builds do not wait: one that chooses versions at the same time can put its lock file,
/// which is a whole one, in the place of what was written meanwhile. The next command then chooses for what is required again.
pub(crate) fn alone(shell: &Shell, directory: &Path) -> anyhow::Result<File> {
    let open = || format!("failed to open {}", directory.display());
    let file = File::open(directory).with_context(open)?;
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        shell.status("Waiting", "for another command that changes packages");
        file.lock().with_context(|| format!("failed to lock {}", directory.display()))?;
    }
    // Some network file systems cannot lock a directory. There, commands go without, as Cargo's do.
    Ok(file)
}

/// Locks the packages of a project and shows what that changed.
pub(crate) fn lock(
    shell: &Shell,
    global: &Global,
    format: Format,
    project: &Project,
    mode: &Mode,
) -> anyhow::Result<Vec<Locked>> {
    let before = lock::read_versions(&project.directory)?;
    let steps = Steps::new(*shell, format);
    let cx = image::context(global, &steps)?;
    let locked = project.lock(&cx, mode)?;
    drop(steps);
    let after: BTreeMap<&str, &Locked> = locked.iter().map(|it| (it.name.as_str(), it)).collect();
    for (name, version) in &before {
        if !after.contains_key(name.as_str()) {
            shell.status("Removing", format_args!("{name} {version}"));
            if format == Format::Json {
                shell::json(&json!({ "reason": "package-removed", "name": name, "version": version }))?;
            }
        }
    }
    for package in &locked {
        let old = before.get(&package.name);
        match old {
            Some(old) if *old == package.version => continue,
            Some(old) => {
                let text = format_args!("{} {old} → {}", package.name, package.version);
                shell.status("Updating", text);
            }
            None => shell
                .status("Adding", format_args!("{} {}{}", package.name, package.version, origin(package))),
        }
        if format == Format::Json {
            shell::json(&package_json(
                if old.is_some() { "package-updated" } else { "package-added" },
                package,
            ))?;
        }
    }
    Ok(locked)
}

/// Writes a `Cargo.toml` under another name first, so that it is never there in part.
pub(crate) fn write_manifest(directory: &Path, text: &str) -> anyhow::Result<()> {
    let path = directory.join("Cargo.toml");
    let write = || -> std::io::Result<()> {
        // A link stays one.
        let path = fs::canonicalize(&path)?;
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(directory))?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::metadata(&path)?.permissions())?;
        file.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

/// A package as an object.
pub(crate) fn package_json(reason: &str, package: &Locked) -> Value {
    let (source, sha256) = match &package.source {
        Source::Recipe(found) => ("recipe", found.recipe.source.sha256.as_deref()),
        Source::Wheel { sha256, .. } => ("index", Some(sha256.as_str())),
    };
    json!({
        "reason": reason,
        "name": package.name,
        "version": package.version,
        "source": source,
        "sha256": sha256,
        "dependencies": package.dependencies,
    })
}

fn origin(package: &Locked) -> &'static str {
    match &package.source {
        Source::Recipe(found) if found.recipe.build.package_type.is_library() => " (C library)",
        Source::Recipe(_) => " (recipe)",
        Source::Wheel { .. } => "",
    }
}
