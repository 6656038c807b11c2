//! `cargo faasm new`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::New;
use crate::error::input;
use crate::layout;
use crate::shell::Shell;

/// Files of a new package. `{name}` is replaced in `Cargo.toml` only.
const FILES: [(&str, &str); 5] = [
    ("build.rs", include_str!("../../template/build.rs")),
    ("src/main.rs", include_str!("../../template/main.rs")),
    ("tests/hello.rs", include_str!("../../template/test.rs")),
    ("functions/hello.py", include_str!("../../template/hello.py")),
    (".gitignore", "/target\n"),
];

const MANIFEST: &str = include_str!("../../template/Cargo.toml.in");

/// Names that Cargo refuses, or that would be in the way of the package's own dependencies.
const TAKEN: [&str; 53] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "faasm-build-support",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "py_func",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "use",
    "while",
];

pub(super) fn run(shell: &Shell, arguments: &New) -> anyhow::Result<ExitCode> {
    let name = arguments.name.as_str();
    check_name(name)?;
    let current = env::current_dir().context("failed to find the current directory")?;
    let target = current.join(name);
    if target.symlink_metadata().is_ok() {
        return Err(input(format!("{} exists already", target.display()))
            .hint("choose another name, or remove it")
            .into());
    }

    let create = || {
        let new = layout::temporary_directory(&current)?;
        let write = |name: &str, content: &str| {
            let path = new.path().join(name);
            fs::create_dir_all(path.parent().unwrap_or(new.path()))?;
            fs::write(path, content)
        };
        for (name, content) in FILES {
            write(name, content)?;
        }
        write("Cargo.toml", &manifest(name, &current))?;
        fs::rename(new.path(), &target)?;
        // There is nothing left to remove under the temporary name.
        let _ = new.keep();
        std::io::Result::Ok(())
    };
    create().with_context(|| format!("failed to create {}", target.display()))?;
    shell.status("Created", format_args!("the package `{name}`"));
    shell.status("Next", format_args!("cd {name} && cargo faasm run functions/hello.py --data you"));
    Ok(ExitCode::SUCCESS)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let wrong = |reason: &str| {
        let hint = "start with a letter, and use letters, digits, `-` and `_`";
        Err(input(format!("the name {name:?} cannot be that of a package: {reason}")).hint(hint).into())
    };
    match name.chars().next() {
        None => return wrong("it is empty"),
        Some(first) if !first.is_ascii_alphabetic() => return wrong("it does not start with a letter"),
        Some(_) => {}
    }
    if let Some(c) = name.chars().find(|&c| !c.is_ascii_alphanumeric() && !"-_".contains(c)) {
        return wrong(&format!("it contains {c:?}"));
    }
    if name.len() > 64 {
        return wrong("it is longer than 64 characters");
    }
    if TAKEN.contains(&name) {
        return wrong("it is taken");
    }
    Ok(())
}

fn manifest(name: &str, parent: &Path) -> String {
    let dependency = |package: &str| match checkout() {
        Some(checkout) => format!("path = {:?}", checkout.join(package).display().to_string()),
        None => format!("version = {:?}", env!("CARGO_PKG_VERSION")),
    };
    let in_other_package = parent.ancestors().any(|it| it.join("Cargo.toml").is_file());
    MANIFEST
        .replace("{name}", name)
        .replace("{py_func}", &dependency("py_func"))
        .replace("{faasm-build-support}", &dependency("faasm-build-support"))
        .replace("{workspace}", if in_other_package { STANDS_ALONE } else { "" })
}

/// Cargo would otherwise complain that the workspace further up does not name the package.
const STANDS_ALONE: &str =
    "\n# This package is not part of the workspace that a directory above it has.\n[workspace]\n";

/// The checkout that this program was built from, if it still exists.
fn checkout() -> Option<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    checkout.join("py_func/Cargo.toml").is_file().then(|| checkout.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["greeter", "a", "my-app_2", "Hello"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        let long = "a".repeat(65);
        for name in ["", "2fast", "-a", "_a", "a/b", "../a", ".", "a b", "ä", "fn", "test", "py_func", &long]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_manifest_is_one() {
        let directory = tempfile::tempdir().unwrap();
        for expected in [false, true] {
            let text = manifest("greeter", directory.path());
            assert!(!text.contains('{') || !text.contains("{name}"), "{text}");
            assert_eq!(text.contains("\n[workspace]\n"), expected, "{text}");
            fs::write(directory.path().join("Cargo.toml"), text).unwrap();
        }
    }
}
