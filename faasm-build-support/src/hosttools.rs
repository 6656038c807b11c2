//! Tools that a build needs from the host.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::progress::Context;
use crate::source::debian;

/// A GNU make of version 4 or newer: the one on `PATH`, else on Debian and its like the distribution's
/// package, unpacked into the cache.
///
/// # Errors
///
/// [`Error::Tool`] when neither can be had.
pub fn make(cx: &Context) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(make) = make_on(&path) {
        return Ok(make);
    }
    const TOOL: &str = "GNU make 4 or newer";
    const HINT: &str = "install it: `apt install make`, `dnf install make` or `brew install make`";
    let package = from_debian(cx, "make", TOOL, HINT)?;
    make_on(package.join("usr/bin").as_os_str()).ok_or_else(|| Error::Tool {
        tool: TOOL,
        reason: format!("it is not on PATH, and the one in {} does not run", package.display()),
        hint: HINT.to_owned(),
    })
}

/// The program `patch`: the one on `PATH`, else on Debian and its like the distribution's package, unpacked into the cache.
///
/// # Errors
///
/// [`Error::Tool`] when neither can be had.
pub fn patch(cx: &Context) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(patch) = env::split_paths(&path).map(|it| it.join("patch")).find(|it| it.is_file()) {
        return Ok(patch);
    }
    from_debian(cx, "patch", "patch", "install it: `apt install patch` or `dnf install patch`")
        .map(|package| package.join("usr/bin/patch"))
}

/// A package of Debian's, for want of a tool on `PATH`.
fn from_debian(cx: &Context, package: &'static str, tool: &'static str, hint: &str) -> Result<PathBuf> {
    debian::package(cx, package).map_err(|error| match error {
        // A full disk is not cured by installing something.
        Error::Io { .. } => error,
        _ => Error::Tool {
            tool,
            reason: format!("it is not on PATH, and its Debian package cannot be had: failed to {error}"),
            hint: hint.to_owned(),
        },
    })
}

/// The first make in the directories of `path` that is new enough. Systems that come with another make may
/// have this one as `gmake`.
fn make_on(path: &OsStr) -> Option<PathBuf> {
    let directories = env::split_paths(path).filter(|it| it.is_absolute());
    let mut candidates = directories.flat_map(|it| [it.join("make"), it.join("gmake")]);
    candidates.find(|make| make.is_file() && is_new_enough(make))
}

fn is_new_enough(make: &Path) -> bool {
    let Ok(output) = Command::new(make).arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let version =
        text.strip_prefix("GNU Make ").and_then(|rest| rest.split('.').next()?.trim().parse::<u32>().ok());
    version.is_some_and(|major| major >= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_gnu_make_is_taken() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let mut directories = Vec::new();
        for (name, program, version) in [
            ("bsd", "make", "usage: make [-b]"),
            ("old", "make", "GNU Make 3.81"),
            ("good", "gmake", "GNU Make 4.3"),
            ("better", "make", "GNU Make 4.4.1"),
        ] {
            let subdirectory = directory.path().join(name);
            std::fs::create_dir(&subdirectory).unwrap();
            let path = subdirectory.join(program);
            std::fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            directories.push(subdirectory);
        }
        let found = |directories: &[PathBuf]| make_on(&env::join_paths(directories).unwrap());
        assert_eq!(found(&directories), Some(directories[2].join("gmake")));
        assert_eq!(found(&directories[..2]), None);
    }
}
