//! Taking extension modules out of an installed package.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use faasm_wasm_link::object;

use crate::error::{Error, Result};
use crate::fs_util;

/// What the file names of extension modules end with, the longest first.
const SUFFIXES: [&str; 3] = [".cpython-313-wasm32-wasi.so", ".abi3.so", ".so"];

/// Moves the extension modules below `site` to `objects`, each as a relocatable object `<dotted name>.o` that only defines
/// [`init_symbol`]. Answers their dotted names, sorted.
///
/// # Errors
///
/// When there is a shared library of another kind, which could never be loaded.
pub(super) fn collect(package: &str, site: &Path, objects: &Path) -> Result<Vec<String>> {
    let mut libraries = Vec::new();
    find(site, &mut libraries)?;
    libraries.sort();
    fs::create_dir_all(objects).map_err(Error::io("create the directory", objects))?;
    let mut modules = Vec::new();
    for path in libraries {
        let content = fs::read(&path).map_err(Error::io("read", &path))?;
        let relative = path.strip_prefix(site).unwrap_or(&path);
        let refuse = |reason: String| Error::Package {
            package: package.to_owned(),
            reason: format!("{}: {reason}", relative.display()),
        };
        if !content.starts_with(b"\0asm") {
            return Err(refuse(
                "it is no WebAssembly; was it compiled with another compiler than $CC?".to_owned(),
            ));
        }
        let module =
            dotted_name(relative).ok_or_else(|| refuse("its name is not that of a module".to_owned()))?;
        let last = module.rsplit('.').next().unwrap_or_default();
        let (old, new) = (format!("PyInit_{last}"), init_symbol(&module));
        let symbols = object::symbols(&content).map_err(|error| refuse(format!("failed to {error}")))?;
        if !symbols.iter().any(|it| it.defined && it.name == old) {
            return Err(refuse(format!("it does not define {old}, so it is no extension module")));
        }
        let changed = object::make_private(&content, |name| (name == old).then(|| new.clone()))
            .map_err(|error| refuse(format!("failed to {error}")))?;
        let place = objects.join(format!("{module}.o"));
        fs::write(&place, changed).map_err(Error::io("write", &place))?;
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        modules.push(module);
    }
    modules.sort();
    Ok(modules)
}

/// The names of packages and modules that lie at the top of `site`, without those of a package's own extension modules, which are
/// elsewhere.
pub(super) fn top_level(site: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in fs_util::entries(site)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let module = match name.strip_suffix(".py") {
            Some(stem) => Some(stem.to_owned()),
            // A directory of data is a package as well, but nobody means it.
            None if path.is_dir() && has_modules(&path)? => Some(name),
            None => None,
        };
        names.extend(module.filter(|it| is_identifier(it)));
    }
    Ok(names)
}

/// Whether there is a file in Python in a directory, or below it.
fn has_modules(directory: &Path) -> Result<bool> {
    for path in fs_util::entries(directory)? {
        if path.extension().is_some_and(|it| it == "py") || (path.is_dir() && has_modules(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The function that initialises a module, as it is called in the image: with the module's full name, since the last part of it is
/// not unique.
pub(crate) fn init_symbol(module: &str) -> String {
    format!("PyInit_{module}")
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in fs_util::entries(directory)? {
        if path.is_dir() {
            find(&path, found)?;
        } else if path.extension().is_some_and(|it| it == "so") {
            found.push(path);
        }
    }
    Ok(())
}

/// The name by which the module at a path below `site-packages` is imported.
fn dotted_name(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let stem = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix))?;
    let parts: Vec<&str> = stem.split('/').collect();
    parts.iter().all(|it| is_identifier(it)).then(|| parts.join("."))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_by_their_place() {
        for (path, expected) in [
            ("a.so", Some("a")),
            ("a/b/_c.cpython-313-wasm32-wasi.so", Some("a.b._c")),
            ("a/b.abi3.so", Some("a.b")),
            ("a/libx.so.1", None),
            ("a-b/c.so", None),
            ("a/3.so", None),
        ] {
            assert_eq!(dotted_name(Path::new(path)).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_lies_at_the_top_is_found() {
        let directory = tempfile::tempdir().unwrap();
        for path in [
            "a/__init__.py",
            "namespace/b/c.py",
            "six.py",
            "a-1.dist-info/METADATA",
            "a-stubs/__init__.pyi",
            "share/man.1",
            "x.pth",
        ] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let names = top_level(directory.path()).unwrap();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "namespace", "six"]);
    }

    #[test]
    fn what_is_no_extension_module_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let site = directory.path().join("site");
        fs::create_dir_all(site.join("a")).unwrap();
        fs::write(site.join("a/b.so"), "\x7fELF").unwrap();
        let error = collect("a", &site, &directory.path().join("objects")).unwrap_err().to_string();
        assert!(error.contains("a/b.so") && error.contains("no WebAssembly"), "{error}");
    }
}
